"""The error of the user's own function, as its author wants to see it.

Invariant: the traceback begins at the first frame outside this package, and its notes (which ubatch, which
rows) stay; a call that never left this package has none to show.
"""

from __future__ import annotations

import signal
import sys
import traceback
from pathlib import Path

import typer

__all__ = ["explain", "interrupted"]

PACKAGE = str(Path(__file__).resolve().parents[1])


def explain(error: Exception, summary: str) -> None:
    """Write the traceback and `summary` to standard error."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    lines = traceback.format_exception(type(error), error.with_traceback(trace), trace)
    print("".join(lines) + f"error: {summary}", file=sys.stderr)


def interrupted(outcome: str) -> typer.Exit:
    """What to raise after Ctrl-C, once it was said."""
    print(f"interrupted; {outcome}", file=sys.stderr)
    return typer.Exit(128 + signal.SIGINT)


def _is_ours(filename: str) -> bool:
    return str(Path(filename).resolve()).startswith(PACKAGE)
