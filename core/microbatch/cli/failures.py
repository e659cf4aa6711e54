"""The error of the user's own function, as its author wants to see it.

Invariant: the traceback begins at the first frame outside this package, and its notes (which ubatch, which
rows) stay; a call that never left this package has none to show.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from microbatch.errors import PACKAGE, MicrobatchError
from microbatch.options.raised import Harmless, described, traceback_of


@contextmanager
def users_code(failed: str, interrupted: str) -> Iterator[None]:
    """End the command where the function called in the block raises (2, with `failed`) or Ctrl-C comes (130).

    Errors of microbatch go through.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"interrupted; {interrupted}", file=sys.stderr)
        raise typer.Exit(128 + signal.SIGINT) from None
    except MicrobatchError:
        raise
    except Exception as error:  # noqa: BLE001 - the function's own, of any kind
        explain(error, failed)
        raise typer.Exit(2) from None


def explain(error: Exception, summary: str) -> None:
    """Write the traceback and `summary` to standard error."""
    trace = traceback_of(error)
    while trace is not None and str(Path(trace.tb_frame.f_code.co_filename).resolve()).startswith(PACKAGE):
        trace = trace.tb_next
    lines = [f"{described(error)}\n"]
    with Harmless():
        lines = traceback.format_exception(type(error), BaseException.with_traceback(error, trace), trace)
    print("".join(lines) + f"error: {summary}", file=sys.stderr)
