"""Call a function plainly and wrapped, again and again, and say where the answers differ."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import microbatch
from tests.core.proof.racers import COLUMNS, ROWS, Racer
from tests.core.proof.runs import seed
from tests.support.answers import Compare

WRAPPERS, CALLS = 4, 5
"""Twenty calls of each function; the first ones of a wrapper have most parts."""


def floats(number: int) -> Any:
    """Batch number `number`: small whole numbers, on which arithmetic is exact."""
    return np.random.default_rng(number).integers(-9, 9, (ROWS, COLUMNS)).astype("f8")


def unequal(racer: Racer, batch: Callable[[int], Any]) -> list[str]:
    """The calls that differed, and how; all errors that are raised are passed on."""
    with warnings.catch_warnings(), threads_that_alternate():
        warnings.simplefilter("ignore")
        return [differs for _ in range(WRAPPERS) for differs in unequal_calls(racer, batch)]


def unequal_calls(racer: Racer, batch: Callable[[int], Any]) -> Iterator[str]:
    """The same, of one wrapper."""
    plain = racer.make()
    with microbatch.wrap(racer.make()) as wrapped:
        for number in range(CALLS):
            differs = difference(plain, wrapped, racer, batch, number)
            if differs:
                report = wrapped.last_report
                yield f"call {number + 1}, {len(report.sizes)} parts {report.schedule}: {differs}"


@contextmanager
def threads_that_alternate() -> Iterator[None]:
    """Threads take turns 500 times as often as usual: 16 racers of 27 show it then, 11 otherwise."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def difference(
    plain: Callable[..., Any],
    wrapped: Callable[..., Any],
    racer: Racer,
    batch: Callable[[int], Any],
    number: int,
) -> str:
    """Of one call of each, from the same random state."""
    seed(number)
    expected = plain(batch(number), *racer.more())
    seed(number)
    return Compare(exact=True).difference(expected, wrapped(batch(number), *racer.more()))
