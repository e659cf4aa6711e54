"""The search over sizes: within 5 % of the best in at most 8 sizes, and only sizes that ran."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch_policies.speed.arms import WHOLE, Allowed
from microbatch_policies.speed.size_search import SizeSearch

TOP = 12


def allowed(whole: bool) -> Allowed:
    return Allowed(low=0, high=TOP, whole=whole)


def settle(search: SizeSearch, seconds: list[float], whole: float | None = None) -> int:
    """Measure until enough is known; `seconds` per unit by exponent."""
    for _ in range(40):
        arm = search.next_arm(allowed(whole is not None), 1_000_000)
        if arm is None:
            break
        search.record(arm, whole if arm == WHOLE and whole is not None else seconds[arm])
    else:
        raise AssertionError("the search does not end")
    chosen = search.choice(allowed(whole is not None))
    assert chosen is not None and chosen in search.arms
    return chosen


def curve(peak: float, left: float, right: float) -> list[float]:
    """Seconds per unit: an overhead shared by ever more units up to `peak`, a penalty per doubling beyond."""
    return [1 + left * 2.0 ** (peak - at) + max(0.0, at - peak) * right for at in range(TOP + 1)]


curves = st.builds(curve, st.floats(0, TOP), st.floats(0.001, 1), st.floats(0, 2))


@given(curves, st.integers(0, TOP))
def test_within_five_percent_of_the_best_in_eight_sizes(seconds: list[float], start: int) -> None:
    search = SizeSearch(start)
    chosen = settle(search, seconds)
    assert len(search.arms) <= 8
    assert seconds[chosen] <= min(seconds) * 1.05


@given(curves, st.integers(0, TOP), st.floats(0.5, 3))
def test_the_whole_batch_wins_unless_cutting_gains(seconds: list[float], start: int, whole: float) -> None:
    search = SizeSearch(start)
    chosen = settle(search, seconds, whole)
    best = min(search.value(arm) for arm in search.arms if arm != WHOLE)
    if WHOLE in search.arms:
        assert (chosen == WHOLE) == (whole <= best * 1.08)


def test_the_smallest_of_equals_is_taken() -> None:
    search = SizeSearch(6)
    settle(search, [1.0] * (TOP + 1))
    assert search.choice(allowed(False)) == min(search.arms)


def test_a_hopeless_whole_batch_is_not_measured() -> None:
    search = SizeSearch(7)
    settle(search, [1 + 0.5 * abs(at - 5) for at in range(TOP + 1)], whole=10.0)
    assert WHOLE not in search.arms


def test_what_was_refused_twice_is_not_asked_again() -> None:
    search = SizeSearch(5)
    search.record(5, 1.0)
    arm = search.next_arm(allowed(False), 1_000_000)
    assert arm is not None
    search.refuse(arm)
    assert search.next_arm(allowed(False), 1_000_000) == arm
    search.refuse(arm)
    assert search.next_arm(allowed(False), 1_000_000) != arm


def test_a_short_step_is_not_explored() -> None:
    search = SizeSearch(5)
    search.record(5, 1e-9)
    assert search.next_arm(allowed(True), 1000) == WHOLE
    search.record(WHOLE, 5e-10)
    assert search.choice(allowed(True)) == WHOLE


def test_what_was_told_is_measured_before_it_is_chosen() -> None:
    search = SizeSearch(5)
    for arm, seconds in ((4, 2.0), (5, 1.0), (6, 0.1), (7, 2.0)):
        search.tell(arm, seconds)
    for arm, seconds in ((6, 3.0), (5, 1.1)):
        assert search.next_arm(allowed(False), 1_000_000) == arm
        search.record(arm, seconds)
    assert search.next_arm(allowed(False), 1_000_000) is None
    assert search.choice(allowed(False)) == 5


def test_a_larger_part_is_tried_before_a_whole_batch_far_above_all_parts() -> None:
    search = SizeSearch(3)
    for arm in (2, 3, 4):
        search.record(arm, 1.0 + abs(arm - 3) / 20)
    search.record(1, 1.2)
    arm = search.next_arm(allowed(True), 1_000_000)
    assert arm == 8
    search.record(arm, 3.0)
    while (arm := search.next_arm(allowed(True), 1_000_000)) is not None:
        assert arm != WHOLE
        search.record(arm, 1.1)


def test_a_cold_neighbour_of_the_best_is_measured_again_and_the_climb_goes_on() -> None:
    seconds = [1 + 0.2 * abs(at - 9) for at in range(TOP + 1)]
    search, seen = SizeSearch(5), set[int]()
    for _ in range(20):
        arm = search.next_arm(allowed(False), 1_000_000)
        if arm is None:
            break
        cold = 1.0 if arm in seen else 2.5
        seen.add(arm)
        search.record(arm, seconds[arm] * cold, steady=seconds[arm])
    assert search.choice(allowed(False)) == 9


def test_a_neighbour_that_is_slower_even_when_steady_is_not_measured_again() -> None:
    search = SizeSearch(5)
    for arm, value in ((5, 1.0), (7, 2.0), (6, 1.5), (3, 2.0), (4, 1.5)):
        search.record(arm, value, steady=1.2)
    assert search.next_arm(allowed(False), 1_000_000) is None


@pytest.mark.parametrize(
    ("value", "steady", "doubtful"),
    [(2.0, 2.0, False), (2.0, 1.9, False), (2.0, 1.5, True), (4.5, 1.5, False), (40.0, 0.9, True)],
)
def test_a_first_time_is_doubted_where_it_may_be_as_fast(value: float, steady: float, doubtful: bool) -> None:
    search = SizeSearch(5)
    search.record(5, value, steady=steady)
    assert search.doubtful(5, 1.0) == doubtful
    search.record(5, value, steady=steady)
    assert not search.doubtful(5, 1.0)
