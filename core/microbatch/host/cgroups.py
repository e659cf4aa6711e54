"""Where the control groups of this process are, for whoever reads limits from them.

Invariant: every directory given back exists at the time of the call and is the process's own group or one of
its ancestors, innermost first; a limit anywhere on that way counts. Both `/proc/self/cgroup` and the mount
table are read, since inside a container the first shows a path that the second has mounted elsewhere.
Rejected: the fixed path `/sys/fs/cgroup`, which misses a limit on a parent, and every cgroup v1 system.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

MOUNT = r"^\S+ \S+ \S+ (\S+) (\S+) .* - (cgroup2?) \S+ (\S+)$"
"""A line of the mount table: three numbers, what is mounted, where, options; kind, source, its options."""


def control_groups(controller: str, root: Path = Path("/")) -> list[Path]:
    """Directories of this process's groups for `controller` (`memory`, `cpu`), innermost first.

    `root` stands for the root of the file system, so that tests can give a drawn tree. Version 2 (one
    hierarchy) and version 1 (one hierarchy a controller) may both be there; the list then has both.
    """
    paths = _own_paths(read_text(root / "proc/self/cgroup"), controller)
    found: list[Path] = []
    for kind, mounted, mount_point in _mounts(read_text(root / "proc/self/mountinfo"), controller):
        if kind in paths:
            top, below = root / mount_point.lstrip("/"), _below(paths[kind], mounted)
            found.extend(dict.fromkeys(top / part for part in (below, *below.parents)))
    return [directory for directory in found if directory.is_dir()]


def read_text(path: Path) -> str:
    """The text of a small system file, or nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def read_number(path: Path) -> int | None:
    """The first number of a system file; None for a missing file, and for `max`, which sets no limit."""
    words = read_text(path).split(maxsplit=1)
    try:
        return int(words[0]) if words else None
    except ValueError:
        return None


def _own_paths(text: str, controller: str) -> dict[str, str]:
    """{"cgroup2": path, "cgroup": path}, of what there is, from lines `number:controllers:path`."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            paths["cgroup2"] = path
        elif controller in controllers.split(","):
            paths["cgroup"] = path
    return paths


def _mounts(text: str, controller: str) -> list[tuple[str, str, str]]:
    """(kind, what is mounted, where) of the control-group file systems that carry `controller`."""
    return [
        (kind, _unescape(mounted), _unescape(where))
        for mounted, where, kind, options in re.findall(MOUNT, text, re.MULTILINE)
        if kind == "cgroup2" or controller in options.split(",")
    ]


def _unescape(field: str) -> str:
    """The mount table writes blanks and backslashes as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _below(path: str, mounted: str) -> PurePosixPath:
    """`path` seen from the mount; the mount itself when the path lies outside (another namespace)."""
    own, top = PurePosixPath(path), PurePosixPath(mounted)
    inside = ".." not in own.parts and own.is_relative_to(top)
    return own.relative_to(top) if inside else PurePosixPath(".")
