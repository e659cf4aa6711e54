"""The installed entry points of the group `microbatch`.

Invariant: the answer is that of `importlib.metadata`. Where only microbatch itself announces the group, which
is the usual case, the answer comes from file names and one small text file: 1 ms for 70 distributions.
To import `importlib.metadata` (with `email`, `csv`, `zipfile`) and parse all metadata takes 25 ms, a quarter
of the first wrap. Rejected: a cache on disk, which would have to notice every installation and removal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from microbatch.extend.hookspecs import PROJECT

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class PluginEntry(Struct, frozen=True, kw_only=True):
    """One entry point of the group, as text."""

    name: str
    """Left of the equals sign."""
    target: str
    """Right of it: `module` or `module:attribute`."""
    distribution: str = ""
    """Distribution that has it; empty where that is not known, and for a plugin given in code."""
    version: str = ""
    """Version of the distribution."""

    @property
    def builtin(self) -> bool:
        """Whether it comes with microbatch itself."""
        return self.distribution.lower() == PROJECT

    @property
    def origin(self) -> str:
        """Distribution and version as users know them, such as `acme-backend 1.2`."""
        return f"{self.distribution} {self.version}".strip() or f"{self.target} (given in code)"


def installed() -> tuple[PluginEntry, ...]:
    """The entry points of all distributions on the import path."""
    ours = _ours_alone()
    if ours is not None:
        return ours
    from importlib.metadata import entry_points  # slow; see above

    return tuple(entry_of(point) for point in entry_points(group=PROJECT))


def entry_of(point: EntryPoint) -> PluginEntry:
    """An entry point of `importlib.metadata` as text."""
    name, version = ("", "") if point.dist is None else (point.dist.name, point.dist.version)
    return PluginEntry(distribution=name, name=point.name, target=point.value, version=version)


def _ours_alone() -> tuple[PluginEntry, ...] | None:
    """The entries of microbatch, if no other distribution has any; None where that is not certain.

    Not certain is: an archive or an `.egg` on the import path, a finder of somebody else that finds
    distributions, a folder that cannot be read, microbatch there twice.
    """
    if any(hasattr(finder, "find_distributions") for finder in sys.meta_path if finder is not PathFinder):
        return None
    try:
        announcing = [info for place in dict.fromkeys(sys.path) for info in _announcing(place or ".")]
    except OSError:
        return None
    if len(announcing) != 1:
        return None
    project, _, version = announcing[0].parent.name.removesuffix(".dist-info").partition("-")
    return tuple(_entries(announcing[0], version)) if project == PROJECT else None


def _announcing(place: str) -> Iterator[Path]:
    """The `entry_points.txt` files in `place` that have our group; OSError where that cannot be told."""
    if place.endswith(".egg"):  # the folder itself is the metadata
        raise NotADirectoryError(place)
    try:
        names = os.listdir(place)
    except FileNotFoundError:  # the import path often names folders that do not exist
        return
    for name in names:
        if name.lower().endswith((".dist-info", ".egg-info")):
            path = os.path.join(place, name, "entry_points.txt")
            if _has_group(path):
                yield Path(path)


def _has_group(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return b"[microbatch]" in file.read()
    except (FileNotFoundError, NotADirectoryError):  # no entry points, or an egg-info that is one file
        return False


def _entries(path: Path, version: str) -> Iterator[PluginEntry]:
    section = ""
    for line in map(str.strip, path.read_text(encoding="utf-8").splitlines()):
        name, equals, target = line.partition("=")
        if line.startswith("["):
            section = line
        elif section == f"[{PROJECT}]" and equals and not line.startswith("#"):
            yield PluginEntry(distribution=PROJECT, name=name.strip(), target=target.strip(), version=version)
