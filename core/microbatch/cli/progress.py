"""How far a run is, on standard error, so that standard output stays free for the summary."""

from __future__ import annotations

import time
from typing import TextIO

from microbatch.step.bars import Quiet, bar_for


def make_progress(total: int, *, quiet: bool, stream: TextIO | None = None) -> Quiet:
    """What fits the stream, standard error by default."""
    return Quiet(total, time.monotonic) if quiet else bar_for(total, time.monotonic, stream)


def nothing_shown() -> Quiet:
    """What stands there before the rows are known."""
    return Quiet(0, time.monotonic)
