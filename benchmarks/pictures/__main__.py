"""`python -m benchmarks.pictures [NAME ...] [--to FOLDER]`: make the pictures of the documents anew.

Needs the extra `plot`; `dual-batch` needs torch too. `tune` and `dual-batch` show what this machine measured.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

import matplotlib as mpl

from benchmarks.pictures.style import FOLDER, SETTINGS

PICTURES = {
    "one-batch": "benchmarks.pictures.drawn:one_batch",
    "schedules": "benchmarks.pictures.drawn:schedules",
    "dual-batch": "benchmarks.pictures.dual_batch:dual_batch",
    "tune": "benchmarks.pictures.tuned:tune",
    "recovery": "benchmarks.pictures.recovered:recovery",
}
"""Name of the file to the function that writes it into a folder."""


def main(arguments: list[str]) -> int:
    """Write those that were asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(PICTURES))
    parser.add_argument("--to", type=Path, default=FOLDER, help="the folder they go to")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(PICTURES):
        parser.error(f"there is no picture {min(unknown)!r}; there are {', '.join(PICTURES)}")
    with mpl.rc_context(SETTINGS):
        for name in options.names or PICTURES:
            module, _, function = PICTURES[name].partition(":")
            print(getattr(import_module(module), function)(options.to))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
