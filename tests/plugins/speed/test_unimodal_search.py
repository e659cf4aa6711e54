"""The climb over sizes: the fastest of all in eight sizes, from wherever it starts."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch_policies.speed.arms import Allowed
from microbatch_policies.speed.constants import MOST
from microbatch_policies.speed.unimodal_search import next_exponent


def up_to(high: int) -> Allowed:
    return Allowed(low=0, high=high, whole=False)


def measured(seconds: list[float], start: int, refused: frozenset[int] = frozenset()) -> dict[int, float]:
    """What is measured until enough is known, by exponent."""
    arms = {start: seconds[start]}
    while (arm := next_exponent(arms, up_to(len(seconds) - 1), refused.__contains__)) is not None:
        assert arm not in arms and 0 <= arm < len(seconds) and arm not in refused
        arms[arm] = seconds[arm]
    return arms


@st.composite
def unimodal(draw: st.DrawFn, top: int) -> list[float]:
    """Seconds that fall to one least value and rise from there, by steps as small as 1 % and as large as
    threefold."""
    steps = st.floats(1.01, 3.0)
    best = draw(st.integers(0, top))
    falling = list(accumulate([1.0] + [draw(steps) for _ in range(best)], lambda a, b: a * b))
    rising = list(accumulate([1.0] + [draw(steps) for _ in range(top - best)], lambda a, b: a * b))
    return falling[:0:-1] + rising


@given(unimodal(28), st.integers(0, 28))
def test_the_fastest_of_29_sizes_is_among_the_eight_measured(seconds: list[float], start: int) -> None:
    arms = measured(seconds, start)
    assert len(arms) <= MOST
    assert min(arms.values()) == min(seconds)


@pytest.mark.parametrize("best", range(29))
def test_fourteen_doublings_off_in_both_directions(best: int) -> None:
    arms = measured([1.0 + abs(at - best) for at in range(29)], 14)
    assert len(arms) <= MOST
    assert arms[best] == 1.0


@pytest.mark.parametrize("best", range(34))
def test_the_farthest_that_is_promised(best: int) -> None:
    seconds = [1.0 + abs(at - best) for at in range(34)]
    assert min(measured(seconds, 0).values()) == min(measured(seconds, 33).values()) == 1.0
    assert max(len(measured(seconds, 0)), len(measured(seconds, 33))) <= MOST


@pytest.mark.parametrize("start", range(13))
def test_strides_are_short_where_that_suffices(start: int) -> None:
    first = next_exponent({start: 1.0}, up_to(12), lambda arm: False)
    assert first is not None and abs(first - start) <= 2


@given(unimodal(12), st.integers(0, 12), st.frozensets(st.integers(0, 12), max_size=6))
def test_what_is_refused_is_never_asked_for_and_it_ends(
    seconds: list[float], start: int, refused: frozenset[int]
) -> None:
    arms = measured(seconds, start, refused)
    assert len(arms) <= 13


def test_a_corrected_value_leads_the_next_stride() -> None:
    arms = {4: 1.0, 6: 2.0, 2: 1.5}
    assert next_exponent(arms, up_to(12), lambda arm: False) in (3, 5)
    assert next_exponent({**arms, 6: 0.5}, up_to(12), lambda arm: False) == 8


def test_times_measured_elsewhere_do_not_end_the_climb() -> None:
    arms = {at: 20.0 - at for at in range(9)}
    assert next_exponent(arms, up_to(12), lambda arm: False) == 10
    assert next_exponent({**arms, 10: 9.0, 12: 8.0}, up_to(12), lambda arm: False) is None


def test_without_a_size_in_range_there_is_nothing_to_go_by() -> None:
    assert next_exponent({20: 1.0}, up_to(12), lambda arm: False) is None
