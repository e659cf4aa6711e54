"""Run the cases of one part until there are enough of them, or the time is over.

Invariant: cases are numbered, and a number draws the same case whenever it runs. After a failure the child is
replaced, so that what one case has broken is not held against the next.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.campaign.records import Found, Part, Tally
from tests.campaign.watched import Watched

MOST_FAILURES = 20
"""Failures after which a part stops: what is broken is broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much of a part is asked for."""

    units: int
    """Units after which it ends."""
    seconds: float = float("inf")
    """Seconds after which no case begins."""
    first: int = 0
    """The number of the first case."""


def run_part(part: Part, seed: int, amount: Amount) -> Tally:
    """As many cases as `amount` says."""
    tally = Tally(part=part, seed=seed)
    with _timed(tally):
        numbers = itertools.count(amount.first)
        end = time.monotonic() + amount.seconds
        while _wanted(tally, amount, end):
            _with_one_child(tally, _while_wanted(numbers, tally, amount, end))
    return tally


def run_case(part: Part, seed: int, number: int) -> Tally:
    """One case alone."""
    tally = Tally(part=part, seed=seed)
    with _timed(tally):
        _with_one_child(tally, [number])
    return tally


def _wanted(tally: Tally, amount: Amount, end: float) -> bool:
    enough = tally.done >= amount.units or len(tally.failures) >= MOST_FAILURES
    return not enough and time.monotonic() < end


def _while_wanted(numbers: Iterator[int], tally: Tally, amount: Amount, end: float) -> Iterator[int]:
    while _wanted(tally, amount, end):
        yield next(numbers)


def _with_one_child(tally: Tally, numbers: Iterable[int]) -> None:
    """Run cases until one fails, or `numbers` are used up; then see what all of them left."""
    number = 0
    with Watched(tally.part, tally.seed) as child:
        for number in numbers:
            found = child.case(number)
            tally.add(number, found)
            if found.failures:
                return
        found = child.finish()
    texts = tuple(f"at the end of the cases up to this one: {text}" for text in found.failures)
    tally.add(number, Found(units={}, failures=texts))


@contextmanager
def _timed(tally: Tally) -> Iterator[None]:
    begun = time.monotonic()
    try:
        yield
    finally:
        tally.seconds = time.monotonic() - begun
