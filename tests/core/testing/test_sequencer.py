"""The sequencer: the drawn order is the order, and failures wake everybody."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import BarrierBrokenError, WaitTimeoutError
from microbatch.testing import Sequencer
from microbatch.testing.strategies import turn_lists


@given(order=turn_lists(parties=3), steps=st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_the_same_order_gives_the_same_run(order: list[int], steps: list[int]) -> None:
    def once() -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []
        sequencer = Sequencer(order)

        def body(party: int) -> None:
            for step in range(steps[party]):
                seen.append((party, step))
                sequencer.turn()

        sequencer.run([lambda party=party: body(party) for party in range(3)])  # type: ignore[misc]
        return seen

    first = once()
    assert first == once()
    assert sorted(first) == [(party, step) for party in range(3) for step in range(steps[party])]


def test_who_goes_next_is_what_the_order_says() -> None:
    sequencer = Sequencer([1, 0, 0, 1, 0])
    sequencer.run(
        [lambda: [sequencer.turn("a") for _ in range(3)], lambda: [sequencer.turn("b") for _ in range(2)]]
    )
    assert sequencer.log == [(1, "b"), (0, "a"), (0, "a"), (1, "b"), (0, "a")]


def test_one_runs_at_a_time() -> None:
    inside = threading.Lock()
    sequencer = Sequencer([0, 1] * 20)

    def body() -> None:
        for _ in range(10):
            assert inside.acquire(blocking=False)
            inside.release()
            sequencer.turn()

    sequencer.run([body, body])


def test_an_error_wakes_the_others_and_is_the_one_raised() -> None:
    ends: list[str] = []

    def failing() -> None:
        sequencer.turn()
        raise KeyError("row")

    def waiting() -> None:
        try:
            while True:
                sequencer.turn()
        except BarrierBrokenError:
            ends.append("woken")
            raise

    sequencer = Sequencer([0, 1, 1, 0])
    with pytest.raises(KeyError, match="row"):
        sequencer.run([failing, waiting])
    assert ends == ["woken"]


def test_a_party_that_keeps_the_turn_is_named() -> None:
    blocked = threading.Event()
    sequencer = Sequencer([0], timeout=0.01)

    def waiting() -> None:
        sequencer.turn()

    try:
        with pytest.raises(WaitTimeoutError, match="party 1 waited 0.01 s while party 0 had the turn"):
            sequencer.run([lambda: blocked.wait(30), waiting])
    finally:
        blocked.set()


def test_a_turn_outside_a_run_does_nothing() -> None:
    Sequencer([0]).turn()
