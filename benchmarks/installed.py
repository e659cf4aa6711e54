"""What users would pick instead of us, where it is installed: numba, JAX, numexpr, a compiler for torch.

Invariant: only the benchmarks use these, and each row that needs one which is missing becomes a sentence.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from benchmarks.table import Row, skipped_row

Rows = Callable[[], Sequence[Row]]


def missing(module: str) -> str:
    """Why a row that needs `module` cannot be measured; empty where it can."""
    if find_spec(module) is None:
        return f"{module} is not installed; `pip install --group peers` has it"
    return ""


def missing_compiler() -> str:
    """Why `torch.compile` cannot be measured; empty where it can."""
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "torch.compile needs a C++ compiler, which is not on the PATH"
    return missing("torch")


def unless(why: str, work: str, against: str, rows: Rows) -> Sequence[Row]:
    """The rows, or the one row that says why there are none."""
    return [skipped_row(work, against, why)] if why else rows()
