"""The call of a block; and where that fails and the run is to go on, which of its rows are to blame.

Invariant: without `skip` the first error of the function goes to the caller as it is. With it, every row is
in one piece of the block or among the failed ones, with the error that it raises alone. Rows are found by
halving: k bad rows among n cost about 2 k log2(n / k) further calls. Errors of microbatch (a layout that does
not fit, a device that is not there) are no row's fault and go through, and so does Ctrl-C, whatever the
function made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from microbatch.errors import MicrobatchError
from microbatch.files.inputs import Inputs
from microbatch.files.protocols import Allocate, Piece
from microbatch.options.raised import of_an_interrupt

Step = Callable[[Inputs, Allocate | None], Any]
"""Runs rows in one step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A row that the function raises for."""

    row: int
    """Counted from the first of the block, later of the input."""
    error: Exception
    """What it raised for this row alone."""


def whole_block(step: Step, inputs: Inputs, out: Allocate | None) -> tuple[list[Piece], list[Failed]]:
    """All rows in one step; raises what the function raises."""
    return [Piece(start=0, rows=inputs.rows, result=step(inputs, out))], []


def without_bad_rows(step: Step, inputs: Inputs, out: Allocate | None) -> tuple[list[Piece], list[Failed]]:
    """All rows but those that fail."""
    pieces: list[Piece] = []
    failed: list[Failed] = []
    waiting = [(0, inputs.rows)]
    while waiting:
        start, stop = waiting.pop()
        rows = inputs if stop - start == inputs.rows else inputs.part(start, stop)
        try:
            result = step(rows, out)
        except MicrobatchError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a row makes the function raise
            if of_an_interrupt(error):
                raise KeyboardInterrupt from None
            if stop - start <= 1:
                failed.append(Failed(row=start, error=error.with_traceback(None)))
            else:
                middle = (start + stop) // 2
                waiting += [(middle, stop), (start, middle)]
        else:
            pieces.append(Piece(start=start, rows=stop - start, result=result))
        out = None  # pieces are put in their places by the sink
    return pieces, failed
