"""`pip install -e .` without a network: the modules of a project and its entry points become known.

Real pip would ask for hatchling. `tox -e third-party` installs such packages with it.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path


def install(project: Path, library: Path) -> None:
    """Put what `project` builds into `library`, a folder on the path of Python."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    about = settings["project"]
    for name in settings["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]:
        (library / name).symlink_to(project.resolve() / name)
    known = library / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    known.mkdir()
    (known / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
        for group, points in about.get("entry-points", {}).items()
    ]
    (known / "entry_points.txt").write_text("\n".join(lines))


if __name__ == "__main__":
    if "-e" in sys.argv:
        install(Path(), Path(os.environ["PRETEND_LIBRARY"]))
