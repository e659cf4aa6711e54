"""How far a run is, on standard error, so that standard output stays free for the summary."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from microbatch.step.bars import Quiet, bar_for

OFTEN = 10.0
"""Seconds between two lines about a check, which usually takes less."""


def make_progress(total: int, *, quiet: bool, stream: TextIO | None = None) -> Quiet:
    """What fits the stream, standard error by default."""
    return Quiet(total, time.monotonic) if quiet or not total else bar_for(total, time.monotonic, stream)


def nothing_shown() -> Quiet:
    """What stands there before the rows are known."""
    return Quiet(0, time.monotonic)


@contextmanager
def trying(rows: int, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows how many cuts of some rows were tried.

    On a terminal in one line that goes at the end, elsewhere in a line every `OFTEN` seconds.
    """
    terminal = sys.stderr.isatty()
    told = time.monotonic()

    def shown(done: int, total: int) -> None:
        nonlocal told
        text = f"tried {done} of {total} cuts of {rows} rows"
        if quiet or done == total:
            return
        if terminal:
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - told > OFTEN:
            told = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    try:
        yield shown
    finally:
        if terminal and not quiet:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
