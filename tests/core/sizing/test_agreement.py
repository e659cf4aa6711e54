"""What ranks agree on, as numbers: the same calls on each, within everybody's limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from microbatch.cutting.cut import cut, validate_slices
from microbatch.cutting.slices import BatchShape, Cut
from microbatch.errors import MicrobatchError, RanksError, WaitTimeoutError
from microbatch.sizing.agreed_plan import in_count, shape_number
from microbatch.sizing.agreement import NUMBERS, Agreed, Telling, Wish, agree, number_of
from microbatch.sizing.plan import Plan
from microbatch.sizing.units import part_units
from tests.support.ranks import FakeGroup, on_all_ranks

SPLITTERS = ("even", "floor", "request-aligned", "packed")


class Heard:
    """One rank of which the others have said their numbers already."""

    def __init__(self, rank: int, wishes: Sequence[Wish]) -> None:
        self.rank, self.size, self._wishes = rank, len(wishes), wishes

    def largest(self, numbers: Sequence[int], timeout: float | None) -> list[int]:
        said: list[tuple[int, ...]] = [tuple(numbers)]
        for rank, wish in enumerate(self._wishes):
            agree(Said(rank, self.size, said), wish, None)
        return [max(column) for column in zip(*said, strict=True)]


class Said:
    """Notes what a rank says."""

    def __init__(self, rank: int, size: int, said: list[tuple[int, ...]]) -> None:
        self.rank, self.size, self._said = rank, size, said

    def largest(self, numbers: Sequence[int], timeout: float | None) -> Sequence[int]:
        self._said.append(tuple(numbers))
        return numbers if not numbers[1] else (*numbers[:1], 0, *numbers[2:])


def agreed_by(wishes: Sequence[Wish]) -> list[Agreed]:
    """What each rank makes of these wishes."""
    return [agree(Heard(rank, wishes), wish, None) for rank, wish in enumerate(wishes)]


@st.composite
def batches(draw: st.DrawFn) -> tuple[BatchShape, str, Plan]:
    """A batch, a splitter, and a plan of one rank for it."""
    splitter = draw(st.sampled_from(SPLITTERS))
    shape = draw(shapes())
    limit = draw(st.none() | st.integers(1, 12))
    count = draw(st.integers(1, 9))
    made = planned_cut(shape, splitter, count, limit)
    sizes = (shape.num_tokens,) if made is None else part_units(made, "rows")
    bound = None if limit is None or made is None else max(limit, *sizes)
    return shape, splitter, Plan(
        cut=made, reason="", limit=bound, workers=1, num_units=shape.num_tokens, unit="rows", sizes=sizes
    )  # fmt: skip


@st.composite
def shapes(draw: st.DrawFn) -> BatchShape:
    if draw(st.booleans()):
        rows = draw(st.integers(0, 40))
        return BatchShape(num_tokens=rows, num_requests=rows)
    lengths = draw(st.lists(st.integers(0, 9), max_size=9))
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return BatchShape(num_tokens=int(starts[-1]), num_requests=len(lengths), query_start_loc=starts)


def planned_cut(shape: BatchShape, splitter: str, count: int, limit: int | None) -> Cut | None:
    try:
        made = cut(shape, splitter=splitter, num_ubatches=count, limit=limit)
    except MicrobatchError:  # it cannot be filled
        return None
    return made if len(made.slices) > 1 else None


@given(st.lists(batches(), min_size=2, max_size=5))
def test_all_ranks_call_equally_often_and_keep_their_limits(
    ranks: list[tuple[BatchShape, str, Plan]],
) -> None:
    """Whatever each has: rows, requests, none at all, any splitter; every row stays in one part."""
    wishes = [
        Wish(count=len(plan.sizes), limit=plan.limit, shape=shape_number(plan, shape, splitter))
        for shape, splitter, plan in ranks
    ]
    plans = [
        in_count(plan, shape, splitter, agreed)
        for (shape, splitter, plan), agreed in zip(ranks, agreed_by(wishes), strict=True)
    ]
    assert len({len(plan.sizes) + plan.dummies for plan in plans}) == 1
    for (shape, _, before), plan in zip(ranks, plans, strict=True):
        assert plan.fixed and plan.dummies >= 0
        assert sum(plan.sizes) == shape.num_tokens
        if before.limit is not None:
            assert max(plan.sizes) <= before.limit
        if plan.cut is not None and plan.cut.permutation is None and shape.num_tokens:
            validate_slices(plan.cut.slices, shape)
        assert plan.dummies == 0 or plan.cut is not None


def test_a_limit_that_no_cut_between_requests_keeps_is_kept_by_one_inside() -> None:
    """As the plan of each rank did; and ranks that cut by other rules are not alike."""
    shape = BatchShape(num_tokens=4, num_requests=3, query_start_loc=np.array([0, 3, 4, 4]))
    made = cut(shape, splitter="request-aligned", num_ubatches=3, limit=2)
    plan = Plan(cut=made, reason="", limit=2, workers=1, num_units=4, unit="rows", sizes=(1, 1, 2))
    agreed = Agreed(count=3, alike=True, limit=2)
    ended = in_count(replace(plan, cut=None, sizes=(4,)), shape, "request-aligned", agreed)
    assert ended.sizes == (1, 1, 2) and ended.dummies == 0
    assert shape_number(plan, shape, "even") != shape_number(plan, shape, "request-aligned")


@given(
    batches(), st.lists(st.tuples(st.integers(1, 9), st.none() | st.integers(3, 12)), min_size=2, max_size=4)
)
def test_equal_batches_have_equal_parts(
    batch: tuple[BatchShape, str, Plan], policies: list[tuple[int, int | None]]
) -> None:
    """Whatever the policies of the ranks say: a collective over rows needs as many on each."""
    shape, splitter, template = batch
    plans = []
    for count, limit in policies:
        made = planned_cut(shape, splitter, count, limit)
        sizes = (shape.num_tokens,) if made is None else part_units(made, "rows")
        bound = None if made is None or limit is None else max(limit, *sizes)
        plans.append(replace(template, cut=made, sizes=sizes, limit=bound))
    wishes = [
        Wish(count=len(plan.sizes), limit=plan.limit, shape=shape_number(plan, shape, splitter))
        for plan in plans
    ]
    assert all(agreed.alike for agreed in agreed_by(wishes))
    ended = [
        in_count(plan, shape, splitter, agreed) for plan, agreed in zip(plans, agreed_by(wishes), strict=True)
    ]
    assert len({(plan.sizes, plan.dummies) for plan in ended}) == 1


def floored(count: int, limit: int | None) -> tuple[BatchShape, Plan]:
    """Seven rows in uneven parts: a seventh of them in each, and the rest in the last."""
    shape = BatchShape(num_tokens=7, num_requests=7)
    made = cut(shape, splitter="floor", num_ubatches=count, limit=limit)
    sizes = part_units(made, "rows")
    return shape, Plan(
        cut=made, reason="", limit=limit, workers=1, num_units=7, unit="rows", sizes=sizes
    )  # fmt: skip


def test_the_lowest_limit_makes_equal_batches_equal() -> None:
    """Four parts of 1, 1, 1 and 4 rows pass the limit that one of the ranks has, so all have one more."""
    agreed = Agreed(count=4, alike=True, limit=3)
    ends = [in_count(plan, shape, "floor", agreed) for shape, plan in (floored(3, 3), floored(4, None))]
    assert [(plan.sizes, plan.dummies) for plan in ends] == [((1, 1, 1, 1, 3), 0)] * 2


def test_a_limit_of_its_own_goes_before_an_even_number_of_parts() -> None:
    shape, plan = floored(3, 3)
    ended = in_count(plan, shape, "floor", Agreed(count=4, limit=3))
    assert (ended.sizes, ended.dummies) == ((2, 2, 3), 1)


def test_named_slices_stay_as_they_are() -> None:
    shape = BatchShape(num_tokens=6, num_requests=6)
    named = cut(shape, splitter="explicit", boundaries=[1])
    plan = Plan(
        cut=named, reason="", limit=None, workers=1, num_units=6, unit="rows", sizes=(1, 5), fixed=True
    )  # fmt: skip
    ended = in_count(plan, shape, "even", Agreed(count=4))
    assert (ended.cut, ended.dummies, ended.reason) == (
        named,
        2,
        "4 calls agreed with other ranks, 2 of them dummies",
    )


@pytest.mark.parametrize(
    ("wishes", "text"),
    [
        ([Wish(way=1), Wish(way=2)], "not about to run the same function"),
        ([Wish(count=3), Wish(uncut=True)], "wants 3 parts where rank 1 must not cut its batch"),
    ],
)
def test_what_cannot_be_agreed_is_refused_on_every_rank(wishes: list[Wish], text: str) -> None:
    group = FakeGroup(2)
    answers = on_all_ranks(
        [lambda r=r, w=w: agree(r, w, 5.0) for r, w in zip(group.ranks, wishes, strict=True)]
    )
    for answer in answers:
        assert isinstance(answer, RanksError) and text in str(answer)


def test_a_rank_that_fails_before_its_step_tells_the_others() -> None:
    group = FakeGroup(3)

    def failing() -> None:
        with Telling(group.ranks[1], 5.0):
            raise KeyError("row")

    waiting: list[Callable[[], Any]] = [lambda r=r: agree(r, Wish(), 5.0) for r in group.ranks]
    answers = on_all_ranks([waiting[0], failing, waiting[2]])
    assert isinstance(answers[1], KeyError)
    for answer in (answers[0], answers[2]):
        assert isinstance(answer, RanksError) and "rank 1 raised before its step" in str(answer)


def test_its_own_error_counts_where_the_others_never_come() -> None:
    with pytest.raises(KeyError, match="row"), Telling(FakeGroup(2).ranks[0], 0.01):
        raise KeyError("row")


def test_an_interrupt_is_not_told() -> None:
    """To tell is to wait for the others."""
    group = FakeGroup(2)
    with pytest.raises(KeyboardInterrupt), Telling(group.ranks[0], 5.0):
        raise KeyboardInterrupt
    assert group.rounds == 0


def test_a_rank_that_does_not_come_is_a_sentence_on_both_sides() -> None:
    group = FakeGroup(2)
    with pytest.raises(WaitTimeoutError, match="every rank must call the wrapper equally often"):
        agree(group.ranks[0], Wish(), 0.01)
    with pytest.raises(RanksError, match="has given up waiting for this one"):
        agree(group.ranks[1], Wish(), 0.01)


def test_numbers_fit_into_64_bits() -> None:
    said: list[tuple[int, ...]] = []
    agree(Said(0, 2, said), Wish(count=65536, way=number_of("f"), shape=number_of(1 << 40)), None)
    assert len(said[0]) == NUMBERS and all(abs(number) < 1 << 63 for number in said[0])
