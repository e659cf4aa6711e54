"""The configuration file: where it is looked for, and what is in it, with line numbers.

Invariant: a file is data. Nothing in it is run, expanded or imported; an unknown key is an error, and so is a
value of the wrong type. A file that was found rather than named is trusted less, since it may come with a
cloned repository, and does not count when somebody else put it into a folder that anybody may write to.

A history that it names is trusted no more than the file: it is used only where this user (or root) owns the
file and nobody else may write it, only inside the folder of the file, links followed, and as every history
only where there is nothing yet or a history of this user already. So the worst that a foreign file can do is
to have a new file made in its own folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from microbatch.errors import ConfigError

OWN_NAME = "microbatch.toml"
SHARED_NAME = "pyproject.toml"
VARIABLE = "MICROBATCH_CONFIG"
LARGEST = 64 * 1024
"""Bytes of `microbatch.toml`; a real one has a few hundred."""
LARGEST_SHARED = 4 * 1024 * 1024
"""Bytes of `pyproject.toml`, which others write to as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """What a file says."""

    path: Path
    """Absolute path."""
    values: Mapping[str, Any]
    """Key to value, as TOML has them."""
    lines: Mapping[str, int]
    """Key to line number, from 1; a key that could not be located is missing."""
    found: bool = True
    """Whether it was found by looking upward, not named by the user."""

    def place(self, key: str) -> str:
        """File and line of `key` for people; short when the file is below the working directory."""
        try:
            text = str(self.path.relative_to(Path.cwd()))
        except (OSError, ValueError):
            text = str(self.path)
        return f"{text}:{self.lines[key]}" if key in self.lines else text


def find(start: Path) -> ConfigFile | None:
    """The nearest file from `start` upward, to the root of the repository or of the file system.

    In one folder `microbatch.toml` goes before `pyproject.toml`; the latter counts if it has
    [tool.microbatch].
    """
    for folder in _upward(start):
        for name in (OWN_NAME, SHARED_NAME):
            path = folder / name
            if os.path.lexists(path) and not _planted(path) and (file := read(path, found=True)) is not None:
                return file
    return None


def named(path: Path) -> ConfigFile:
    """The file that MICROBATCH_CONFIG names; it must exist, and may be the null device for no file at all."""
    place, nothing = path.absolute(), MappingProxyType[str, Any]({})
    return read(place, found=False) or ConfigFile(path=place, values=nothing, lines=nothing, found=False)


def read(path: Path, *, found: bool) -> ConfigFile | None:
    """Parse one file; None for a `pyproject.toml` without our table. Raises ConfigError."""
    shared = path.name == SHARED_NAME
    raw = _bytes(path, LARGEST_SHARED if shared else LARGEST)
    if shared and b"microbatch" not in raw:
        return None
    import tomllib  # 2 ms, and most wrappers are built where there is no file

    try:
        text = raw.decode("utf-8")
        table: Any = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if shared and found and b"tool.microbatch" not in raw:
            return None
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    if shared:
        tool = table.get("tool")
        table = tool.get("microbatch") if isinstance(tool, dict) else None
        if table is None:
            return None
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: tool.microbatch must be a table; write [tool.microbatch]")
    lines = {key: line for key in table if (line := _line(text, key, shared)) is not None}
    return ConfigFile(path=path, values=MappingProxyType(table), lines=MappingProxyType(lines), found=found)


def _upward(start: Path) -> Iterator[Path]:
    device = start.stat().st_dev
    for folder in (start, *start.parents):
        try:
            if folder.stat().st_dev != device:
                return
        except OSError:  # a folder above that this process may not see
            return
        yield folder
        if os.path.exists(folder / ".git"):  # pathlib's raises where the folder may not be looked into
            return


def _planted(path: Path) -> bool:
    """Whether a stranger may have put it there: the folder is open to all and the file is not ours."""
    if not hasattr(os, "geteuid"):
        return False
    return bool(path.parent.stat().st_mode & stat.S_IWOTH) and path.lstat().st_uid != os.geteuid()


def why_distrusted(path: Path) -> str:
    """Why somebody else may have written the file at `path`, or what it links to; empty where only this user
    (or root) may have."""
    if not hasattr(os, "geteuid"):
        return ""
    for status in (path.lstat(), path.stat()):
        if status.st_uid not in (os.geteuid(), 0):
            return "belongs to another user"
        if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
            return "may be written by anybody"
    return ""


def _bytes(path: Path, largest: int) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not os.path.samefile(path, os.devnull):
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"  # a FIFO would wait for ever
            raise ConfigError(f"{path} is {kind}; a configuration file is a TOML file")
        with path.open("rb") as file:
            raw = file.read(largest + 1)
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        raise ConfigError(f"{problem}; repair it, or unset {VARIABLE}") from None
    if len(raw) > largest:
        raise ConfigError(f"{path} is larger than {largest} bytes; this is no configuration of microbatch")
    return raw


def _line(text: str, key: str, shared: bool) -> int | None:
    """Line on which `key` is set: in the right table, in dotted form, or in an inline table."""
    quoted = rf"""["']?{re.escape(key)}["']?"""
    assigned = re.compile(rf"\s*{quoted}\s*[=.]")
    dotted = re.compile(
        rf"\s*tool\s*\.\s*microbatch\s*\.\s*{quoted}\s*=|.*\bmicrobatch\b.*[{{,]\s*{quoted}\s*="
    )
    header = re.compile(rf"\s*\[+\s*(?:tool\s*\.\s*microbatch\s*\.\s*)?{quoted}\s*[\].]")
    inside = not shared
    for number, line in enumerate(text.splitlines(), 1):
        if (inside and assigned.match(line)) or header.match(line) or (shared and dotted.match(line)):
            return number
        if line.lstrip().startswith("["):
            inside = shared and re.match(r"\s*\[\s*tool\s*\.\s*microbatch\s*\]", line) is not None
    return None
