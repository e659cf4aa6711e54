"""The ring between greenlets, without a schedule around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")

from microbatch.turns.greenlets import GreenletRing
from microbatch.turns.state import UBatchCancelled


def test_an_error_that_escapes_from_a_body_makes_its_siblings_unwind() -> None:
    """As Ctrl-C does where nobody catches it; the others must not go on as if nothing had happened."""
    ring, log, told = GreenletRing(3), [], []

    def escaping() -> None:
        ring.start(0)
        raise KeyboardInterrupt

    def other(index: int) -> None:
        try:
            ring.start(index)
            log.append(f"{index} went on")
        except UBatchCancelled:
            log.append(f"{index} cancelled")
        finally:
            ring.leave(index)

    ring.carry([escaping, lambda: other(1), lambda: other(2)], lambda error: told.append(type(error)))
    assert told == [KeyboardInterrupt]
    assert sorted(log) == ["1 cancelled", "2 cancelled"]


def test_a_yield_of_the_only_one_left_parks_nothing() -> None:
    parked: list[str] = []

    @contextmanager
    def parking() -> Iterator[None]:
        parked.append("parked")
        yield

    ring = GreenletRing(2, parking)

    def body(index: int) -> None:
        ring.start(index)
        for _ in range(3 * index):
            ring.hand_over(index, "alone")
        ring.leave(index)

    ring.carry([lambda: body(0), lambda: body(1)], lambda error: pytest.fail(f"{error!r}"))
    assert ring.yields == [0, 3]
    assert parked == ["parked"] * 2  # both at the start line
