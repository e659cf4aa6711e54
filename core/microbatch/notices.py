"""Warnings that point at the line of the caller, not at one of this package.

Invariant: the place is the first frame outside the package, so Python's "once per place" is once per line of the user.
Rejected: `stacklevel` counted by hand, which is wrong as soon as a function is called by another way.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

__all__ = ["warn"]

PACKAGE = f"{Path(__file__).resolve().parent}{os.sep}"


def warn(text: str, category: type[Warning]) -> None:
    """Warn with `text` at the nearest line of somebody else's code."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
