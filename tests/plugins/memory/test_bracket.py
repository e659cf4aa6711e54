"""Bounds learned from failures: halfway, then close enough, then forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from microbatch_policies.memory.bracket import Bracket
from microbatch_policies.memory.constants import GAP, LIFE, LONGEST


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_it_closes_in_on_the_limit(limit: int, first: int) -> None:
    bracket, size, failures = Bracket(), first, 0
    for attempt in range(40):
        if size <= limit:
            bracket.fit(size)
        else:
            failures += 1
            bracket.fail(size, 0, None)
        size = bracket.limit(0, None) or size
        if attempt and bracket.fails and bracket.fits and size == bracket.fits:
            break
    if bracket.fails:
        assert bracket.fits <= limit < bracket.fails
        assert bracket.fails <= bracket.fits * GAP + 1
    assert failures <= first.bit_length() + 6


def test_nothing_is_limited_before_a_failure() -> None:
    bracket = Bracket()
    bracket.fit(10)
    assert bracket.limit(0, None) is None


def test_a_failure_is_forgotten_and_one_that_returns_is_believed_longer() -> None:
    bracket, step, lives = Bracket(), 0, []
    bracket.fit(100)
    for _ in range(6):
        bracket.fail(101, step, None)
        began = step
        while bracket.limit(step, None) is not None:
            step += 1
        lives.append(step - began - 1)
    assert lives[0] == LIFE
    assert lives[1:] == [min(LONGEST, LIFE << at) for at in range(1, 6)]


def test_more_memory_ends_the_belief() -> None:
    bracket = Bracket()
    bracket.fit(100)
    bracket.fail(200, 0, 1000.0)
    assert bracket.limit(1, 1100.0) == 150
    assert bracket.limit(1, 1200.0) is None


def test_a_size_that_runs_refutes_a_failure() -> None:
    bracket = Bracket()
    bracket.fail(64, 0, None)
    assert bracket.limit(0, None) == 32
    bracket.fit(64)
    assert bracket.limit(0, None) is None
