"""The function of the user: its errors as its author wants to see them, and Ctrl-C while it runs.

Invariant: only what the function's own call raised is said of the function. The traceback begins at the first
frame outside this package, and its notes (which ubatch, which rows) stay; a call that never left this package
has none to show.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from microbatch.cli.endings import interrupted
from microbatch.cli.run_state import RunState
from microbatch.cli.signals import Interrupts
from microbatch.cli.streams import say
from microbatch.errors import PACKAGE, MicrobatchError
from microbatch.options.raised import Harmless, described, of_an_interrupt, traceback_of


@contextmanager
def users_code(failed: str | Callable[[], str], code: int) -> Iterator[None]:
    """End the command with `failed` and `code` where the function called in the block raises.

    `failed` may be a function, asked when that has happened. Errors of microbatch go through, and what the
    function made of Ctrl-C goes on as Ctrl-C.
    """
    try:
        yield
    except (MicrobatchError, typer.Exit):
        raise
    except Exception as error:  # noqa: BLE001 - the function's own, of any kind
        if of_an_interrupt(error):
            raise KeyboardInterrupt from None
        explain(error, failed if isinstance(failed, str) else failed())
        raise typer.Exit(code) from None


@contextmanager
def interruptible(state: RunState) -> Iterator[Interrupts]:
    """End the command where a signal asks it to, after what stands in the block has tidied up."""
    with Interrupts(supervised=state.supervised) as interrupts:
        try:
            yield interrupts
        except KeyboardInterrupt:
            if state.tell():
                say(interrupted(state))
            raise typer.Exit(interrupts.exit_code) from None


def explain(error: Exception, summary: str) -> None:
    """Write the traceback and `summary` to standard error."""
    trace = traceback_of(error)
    while trace is not None and str(Path(trace.tb_frame.f_code.co_filename).resolve()).startswith(PACKAGE):
        trace = trace.tb_next
    lines = [f"{described(error)}\n"]
    with Harmless():
        lines = traceback.format_exception(type(error), BaseException.with_traceback(error, trace), trace)
    say("".join(lines) + f"error: {summary}")
