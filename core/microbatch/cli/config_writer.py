"""Write what was tuned into `microbatch.toml`.

Invariant: the file is whole, old or new; other options and comments in it stay as they are. A file that holds
anything but options of ours is somebody else's and is refused, unchanged. Rejected: a TOML editor as a
dependency, for the sake of two lines of plain text that are parsed again before they are kept.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from microbatch.cli.outputs import in_the_making
from microbatch.cli.run_state import RunState
from microbatch.errors import OutputFileError
from microbatch.files.places import check_place, writing
from microbatch.files.whole_file import WholeFile
from microbatch.options import file as config_file
from microbatch.options.fields import FIELDS

KINDS = (".toml",)


def check_config(path: Path) -> None:
    """Raise OutputFileError or ConfigError if `path` is no file that options can be written to."""
    if path.suffix != ".toml" or path.name == config_file.SHARED_NAME:
        raise OutputFileError(f"{path} is not a file of microbatch; name microbatch.toml")
    there = check_place(path, KINDS, "written")
    found = config_file.read(path, found=False) if there is not None else None
    foreign = sorted(set(found.values if found is not None else ()) - set(FIELDS))
    if foreign:
        what = f"{', '.join(map(repr, foreign))}, which is no option of microbatch"
        raise OutputFileError(f"{path} holds {what}; name another file")


def write_config(path: Path, values: Mapping[str, str | int], state: RunState) -> None:
    """Set the options `values` in `path`, atomically. Raises as `check_config`, and OutputFileError."""
    check_config(path)
    with writing(path, "name a file that this user may read"):
        before = path.read_text("utf-8") if path.exists() else ""
    lines = {key: f"{key} = {json.dumps(value)}" for key, value in values.items()}  # plain texts are TOML too
    after = _updated(before, lines)
    if _parsed(after) != {**tomllib.loads(before), **values}:
        wanted = ", ".join(lines.values())
        raise OutputFileError(f"{path} is written in a way that cannot be edited; set {wanted} by hand")
    with in_the_making(lambda: WholeFile(path, KINDS), state) as file:
        file.write(after.encode())


def _updated(text: str, lines: Mapping[str, str]) -> str:
    """`text` with each key's line in place of the first that sets the key, or at the end."""
    updated = text.splitlines()
    for key, line in lines.items():
        sets = re.compile(rf"\s*[\"']?{key}[\"']?\s*=")
        at = next((index for index, old in enumerate(updated) if sets.match(old)), len(updated))
        updated[at : at + 1] = [line]
    return "\n".join(updated) + "\n"


def _parsed(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}
