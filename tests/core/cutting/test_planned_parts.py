"""Parts that are planned as they are taken: every row in exactly one, by however many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from microbatch.cutting.planned_parts import EachOf, PlannedParts
from microbatch.cutting.slices import UBatchSlice

sizes_drawn = st.lists(st.integers(1, 9), min_size=1, max_size=20)


def next_of(sizes: list[int]) -> Callable[[int], int]:
    """Sizes one after another, again and again."""
    asked = iter(range(10**9))
    return lambda left: min(left, sizes[next(asked) % len(sizes)])


def covered(parts: PlannedParts, rows: int) -> bool:
    """Whether each row is in exactly one part, in order."""
    edges = [(piece.token_slice.start, piece.token_slice.stop) for piece in parts]
    starts, stops = [start for start, _ in edges], [stop for _, stop in edges]
    return starts == [0, *stops[:-1]] and stops[-1] == rows


@given(st.integers(1, 200), sizes_drawn)
def test_all_rows_are_taken_once_in_order(rows: int, sizes: list[int]) -> None:
    parts = PlannedParts(rows, next_of(sizes))
    taken = list(iter(parts.take, None))
    assert taken == list(range(len(parts))) and covered(parts, rows) and parts.complete
    assert parts.take() is None


@given(st.integers(1, 200), sizes_drawn, st.integers(0, 30))
def test_the_number_of_parts_is_settled_when_it_is_asked_for(
    rows: int, sizes: list[int], before: int
) -> None:
    """And those that are taken later are those that were planned then."""
    parts = PlannedParts(rows, next_of(sizes))
    for _ in range(before):
        parts.take()
    count = parts.plan_all()
    assert covered(parts, rows) and count == len(parts)
    while parts.take() is not None:
        pass
    assert len(parts) == count == parts.plan_all()


@given(st.integers(1, 300), st.integers(1, 9), st.integers(0, 12), st.data())
def test_no_part_has_fewer_rows_than_may_be(rows: int, fewest: int, more: int, data: st.DataObject) -> None:
    """The last one neither; and none has more than it may, where that is at least twice as much."""
    most = 2 * fewest + more
    sizes = data.draw(st.lists(st.integers(fewest, most), min_size=1, max_size=9))
    parts = PlannedParts(rows, next_of(sizes), fewest=fewest, most=most)
    for _ in range(data.draw(st.integers(0, 40))):
        parts.take()
    parts.plan_all()
    assert covered(parts, rows)
    assert all(min(fewest, rows) <= piece.num_tokens <= most for piece in parts)


@given(st.data())
def test_threads_that_plan_at_the_same_time_agree(data: st.DataObject) -> None:
    """One is held while it works out a size, and others take parts meanwhile: whoever is first has it so."""
    rows = data.draw(st.integers(5, 60))
    depth = 0

    def interrupted(left: int) -> int:
        nonlocal depth
        if depth < 3 and data.draw(st.booleans()):
            depth += 1
            taken.append(parts.take())
            depth -= 1
        return min(left, data.draw(st.integers(1, 7)))

    parts = PlannedParts(rows, interrupted)
    taken: list[int | None] = []
    while not taken or taken[-1] is not None:
        taken.append(parts.take())
    numbers = [number for number in taken if number is not None]
    assert sorted(numbers) == list(range(len(parts))) and covered(parts, rows)


def test_a_thread_that_is_late_has_its_part_all_the_same() -> None:
    """Others plan and take all that is left between its number and its look at what is planned. Seen once in
    several thousand steps: its part was nobody's."""
    others: list[int] = []

    class Late(PlannedParts):
        def _plan_one(self, next_size: Callable[[int], int]) -> bool:
            if not others:
                others.append(-1)
                others.extend(iter(self.take, None))
            return super()._plan_one(next_size)

    parts = Late(20, lambda left: min(left, 3))
    assert parts.take() == 0
    assert others[1:] == list(range(1, len(parts))) and covered(parts, 20)


def test_real_threads_take_each_part_once() -> None:
    parts, taken = PlannedParts(20_000, lambda left: min(left, 3)), list[int]()

    def work() -> None:
        taken.extend(iter(parts.take, None))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == list(range(len(parts))) and covered(parts, 20_000)


def test_it_is_a_sequence_that_grows() -> None:
    parts = PlannedParts(7, lambda left: min(left, 3))
    rows = EachOf(parts, lambda piece: piece.num_tokens)
    assert list(parts) == [] and len(rows) == 0
    parts.take()
    assert parts[0] == UBatchSlice.from_range(0, 3, 0, 3) and list(rows) == [3]
    parts.plan_all()
    assert [piece.num_reqs for piece in parts[1:]] == [3, 1] and rows[2] == 1 and len(rows) == 3
