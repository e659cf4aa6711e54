"""Write what was tuned into `microbatch.toml`.

Invariant: the file is whole, old or new; other options and comments in it stay as they are. A file that holds
anything but options of ours is somebody else's and is refused, unchanged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from microbatch.errors import OutputFileError
from microbatch.options import file as config_file
from microbatch.options.fields import UBatchConfig

__all__ = ["check_config", "write_config"]


def check_config(path: Path) -> None:
    """Raise OutputFileError or ConfigError if `path` is no file that options can be written to."""
    if path.suffix != ".toml" or path.name == config_file.SHARED_NAME:
        raise OutputFileError(f"{path} is not a file of microbatch; name microbatch.toml")
    if not path.resolve().parent.is_dir():
        raise OutputFileError(f"the folder of {path} does not exist; make it first")
    if not os.path.lexists(path):
        return
    found = config_file.read(path.resolve(), found=False)
    known = {field.name for field in dataclasses.fields(UBatchConfig)}
    foreign = sorted(set(found.values if found is not None else ()) - known)
    if foreign:
        raise OutputFileError(
            f"{path} holds {', '.join(map(repr, foreign))}, which is no option of microbatch; "
            "name another file"
        )


def write_config(path: Path, values: Mapping[str, str | int]) -> None:
    """Set the options `values` in `path`, atomically; raises as `check_config`, or what the system
    refuses."""
    check_config(path)
    place = path.resolve()
    before = place.read_text("utf-8") if place.exists() else ""
    after = _updated(before, values)
    wanted = {**tomllib.loads(before), **values}
    if _parsed(after) != wanted:
        raise OutputFileError(
            f"{path} is written in a way that cannot be edited; set {_lines(values)} by hand"
        )
    _replace(place, after, path)


def _updated(text: str, values: Mapping[str, str | int]) -> str:
    lines = text.splitlines()
    for key, value in values.items():
        line = f"{key} = {_toml(value)}"
        at = [index for index, old in enumerate(lines) if re.match(rf"\s*[\"']?{key}[\"']?\s*=", old)]
        if at:
            lines[at[0]] = line
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _parsed(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _lines(values: Mapping[str, str | int]) -> str:
    return ", ".join(f"{key} = {_toml(value)}" for key, value in values.items())


def _toml(value: str | int) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _replace(place: Path, text: str, path: Path) -> None:
    """Write beside the file, then put it in its place; keeps the permissions of an old one."""
    try:
        descriptor, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    except OSError as error:
        raise OutputFileError(
            f"{path} cannot be written: {error.strerror}; name a file in a folder of yours"
        ) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, place.stat().st_mode & 0o777 if place.exists() else 0o644)
        os.replace(name, place)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise OutputFileError(
            f"{path} cannot be written: {error.strerror}; name a file in a folder of yours"
        ) from None
