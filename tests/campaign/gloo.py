"""Drawn numbers of rows on each rank of a real gloo group, with functions that communicate.

Invariant: each rank gets what its plain call gives, and every step ends.
"""

from __future__ import annotations

import atexit
from functools import cache
from itertools import chain
from random import Random

from tests.campaign.records import Found
from tests.support.communicating import drawn_steps, wrong_steps
from tests.support.gloo import GlooRanks

LEFT = frozenset({"threads"})
SIZE = 4
"""Ranks; two of them are tested beside the backend."""


@cache
def _ranks() -> GlooRanks:
    """Started once, and ended with this process."""
    ranks = GlooRanks(SIZE).__enter__()
    atexit.register(ranks.__exit__, None, None, None)
    return ranks


def begin() -> None:
    """Start the ranks."""
    _ranks()


def case(draw: Random) -> Found:
    """Three steps of one wrapper on all ranks, each with other numbers of rows."""
    name, rows, options, seed = drawn_steps(draw, SIZE)
    answers = _ranks().run(wrong_steps, name, rows, options, seed)
    return Found(units={"imbalances": len(rows)}, failures=tuple(chain.from_iterable(answers)))
