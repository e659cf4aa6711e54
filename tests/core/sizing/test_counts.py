"""A number of parts that was asked for is what runs, wherever so many can be filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import Layout, Proposal
from microbatch.binding.rules import query_start_loc, requests, tokens
from microbatch.errors import PolicyError, SliceError
from microbatch.loading.plugins import Plugins

SPLITTERS = ("even", "floor", "request-aligned", "packed", "auto")
MOST_ROWS, COUNTS = 64, range(2, 9)
ROWS = Layout(inputs={"x": tokens()}, outputs={"output": tokens()})
REQUESTS = Layout(inputs={"x": tokens(), "starts": query_start_loc()}, outputs={"output": tokens()})
PADDED = Layout(
    inputs={"x": tokens(trim=1), "starts": requests()}, outputs={"output": tokens(trim=1)}, lengths="starts"
)


class Calls:
    """A function of rows that keeps the size of each call."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, x: Any, starts: Any = None) -> Any:
        self.sizes.append(len(x))
        return x * 2


@contextmanager
def counted(layout: Layout, **options: Any) -> Iterator[tuple[Any, Calls]]:
    """A wrapper that runs in the caller's thread, and what its function saw."""
    calls = Calls()
    with microbatch.wrap(calls, layout=layout, schedule="sequential", backend="cpu", **options) as wrapped:
        yield wrapped, calls


def parts_of(wrapped: Any, calls: Calls, *inputs: Any) -> int:
    """Run one step: its parts, which are the calls and what the report says, give the plain call's rows."""
    calls.sizes.clear()
    np.testing.assert_array_equal(wrapped(*inputs), inputs[0] * 2)
    report = wrapped.last_report
    assert len(report.sizes) == len(calls.sizes)
    assert sum(calls.sizes) == len(inputs[0]) and min(calls.sizes) >= 1
    return len(calls.sizes)


@pytest.mark.parametrize("splitter", SPLITTERS)
@pytest.mark.parametrize("options", [{}, {"policy": "fixed"}, {"policy": "memory-model,fixed"}], ids=str)
def test_all_small_batches_of_rows(splitter: str, options: dict[str, Any]) -> None:
    for count in COUNTS:
        with counted(ROWS, splitter=splitter, num_ubatches=count, **options) as (wrapped, calls):
            for rows in range(1, MOST_ROWS + 1):
                parts = parts_of(wrapped, calls, np.arange(rows))
                assert parts == min(count, rows)
                told = wrapped.last_report.reason
                assert parts == 1 or told == f"{count} ubatches asked for" or f"{parts} can be filled" in told


@pytest.mark.parametrize("splitter", SPLITTERS)
@pytest.mark.parametrize("seed", range(2))
def test_all_small_batches_of_requests(splitter: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    for count in COUNTS:
        with counted(REQUESTS, splitter=splitter, num_ubatches=count) as (wrapped, calls):
            for total in range(count, MOST_ROWS + 1):
                inner = random.choice(total + 1, random.integers(0, 2 * count))
                starts = np.sort([0, *inner.tolist(), total])
                most = np.count_nonzero(np.diff(starts)) if splitter == "packed" else total
                assert parts_of(wrapped, calls, np.arange(total), starts) == min(count, most)


@pytest.mark.parametrize("splitter", SPLITTERS)
@given(
    lengths=st.lists(st.integers(0, 16), min_size=1, max_size=40).filter(any),
    count=st.integers(COUNTS[0], COUNTS[-1]),
)
def test_batches_of_requests(splitter: str, lengths: list[int], count: int) -> None:
    """`packed` never cuts a request; all others may, where they must."""
    starts = np.concatenate(([0], np.cumsum(lengths)))
    most = np.count_nonzero(lengths) if splitter == "packed" else sum(lengths)
    with counted(REQUESTS, splitter=splitter, num_ubatches=count) as (wrapped, calls):
        assert parts_of(wrapped, calls, np.arange(starts[-1]), starts) == min(count, most)


@given(st.lists(st.integers(0, 16), min_size=1, max_size=40), st.integers(COUNTS[0], COUNTS[-1]))
def test_padded_rows_by_their_lengths(lengths: list[int], count: int) -> None:
    x = np.ones((len(lengths), 16))
    with counted(PADDED, num_ubatches=count) as (wrapped, calls):
        wrapped(x, np.array(lengths))
        assert len(calls.sizes) == len(wrapped.last_report.sizes) == min(count, len(lengths))


@pytest.mark.parametrize(
    ("splitter", "lengths", "count", "sizes"),
    [
        ("even", [1] * 4, 3, (2, 1, 1)),
        ("floor", [1] * 5, 3, (1, 1, 3)),
        ("request-aligned", [2, 3, 2], 2, (3, 4)),
        ("request-aligned", [3, 4, 3, 4], 2, (7, 7)),
        ("packed", [2, 9, 2, 4], 2, (9, 8)),
    ],
)
def test_the_parts(splitter: str, lengths: list[int], count: int, sizes: tuple[int, ...]) -> None:
    starts = np.concatenate(([0], np.cumsum(lengths)))
    with counted(REQUESTS, splitter=splitter, policy="fixed", num_ubatches=count) as (wrapped, calls):
        assert parts_of(wrapped, calls, np.arange(starts[-1]), starts) == count
        report = wrapped.last_report
        assert report.sizes == sizes
        assert (report.reason, report.limit) == (f"{count} ubatches asked for", max(sizes))


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [
        ([100], (50, 50)),
        ([3, 90, 7], (50, 50)),  # at the boundaries a share would be below 0.48, so the long one is cut
        ([47, 53], (50, 50)),
        ([48, 52], (48, 52)),
        ([10, 40, 50], (50, 50)),
    ],
)
def test_sglangs_two_balanced_chunks_are_reached_through_the_wrapper(
    lengths: list[int], sizes: tuple[int, ...]
) -> None:
    seen: list[list[int]] = []

    def note(x: Any, starts: Any) -> Any:
        seen.append(starts.tolist())
        return x * 2

    starts = np.concatenate(([0], np.cumsum(lengths)))
    options = {"layout": REQUESTS, "splitter": "request-aligned", "num_ubatches": 2, "schedule": "sequential"}
    with microbatch.wrap(note, **options) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(100), starts), np.arange(100) * 2)
        assert wrapped.last_report is not None and wrapped.last_report.sizes == sizes
    assert [offsets[-1] for offsets in seen] == list(sizes)
    cut_inside = sizes[0] not in starts
    assert sum(len(offsets) - 1 for offsets in seen) == len(lengths) + cut_inside


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_a_decode_batch_runs_in_the_parts_asked_for(splitter: str) -> None:
    """Every request has one token, so tokens and requests are as many."""
    with counted(REQUESTS, splitter=splitter, num_ubatches=3) as (wrapped, calls):
        assert parts_of(wrapped, calls, np.arange(8), np.arange(9)) == 3
        assert parts_of(wrapped, calls, np.arange(2), np.arange(3)) == 2


class Answering(Plugins):
    """Plugins whose policies answer what they were given, in the order they are named."""

    def __init__(self, *answers: Proposal) -> None:
        super().__init__()
        self.answers = list(answers)

    def policy(self, name: str, **options: Any) -> Any:
        answer = self.answers.pop(0)

        class Policy:
            def propose(self, request: Any) -> Proposal:
                return answer

            def observe(self, report: Any) -> None:
                pass

        return Policy()


@pytest.mark.parametrize(
    ("answers", "sizes", "reason"),
    [
        ([Proposal(count=4)], (3, 3, 2, 2), ""),
        ([Proposal(count=40, reason="many")], (1,) * 10, "many; 10 can be filled"),
        ([Proposal(count=1)], (10,), ""),
        ([Proposal(limit=40, reason="wide")], (10,), "wide"),
        ([Proposal(limit=40)], (10,), "the whole batch is within the limit of 10"),
        ([Proposal(limit=40, split=False)], (10,), ""),
        ([Proposal(count=2, limit=5)], (5, 5), ""),
        ([Proposal(count=2, limit=4)], (4, 3, 3), "3 to keep the limit of 4"),
        ([Proposal(count=3, split=False, reason="no")], (10,), "no"),
        ([Proposal(count=2), Proposal(limit=4)], (4, 3, 3), "3 to keep the limit of 4"),
        ([Proposal(count=2), Proposal(limit=5)], (5, 5), ""),
        ([Proposal(count=2), Proposal(limit=9, hard=True)], (5, 5), ""),
        ([Proposal(count=2), Proposal(split=False)], (10,), ""),
        ([Proposal(count=2), Proposal(limit=4, hard=True), Proposal(split=False)], (4, 3, 3), ""),
        ([Proposal(count=2), Proposal(count=3)], (4, 3, 3), ""),
        ([Proposal(), Proposal()], (5, 5), ""),
    ],
)
def test_what_a_chain_comes_to(answers: list[Proposal], sizes: tuple[int, ...], reason: str) -> None:
    names = ",".join(f"p{index}" for index in range(len(answers)))
    with counted(ROWS, policy=names, plugins=Answering(*answers)) as (wrapped, calls):
        assert parts_of(wrapped, calls, np.arange(10)) == len(sizes)
        assert (wrapped.last_report.sizes, wrapped.last_report.reason) == (sizes, reason)


def test_a_limit_below_the_longest_request_bounds_no_other_part_either() -> None:
    """That request runs anyway, and smaller parts beside it only cost time."""
    starts, answer = np.array([0, 10, 13, 16, 19]), Answering(Proposal(limit=4, hard=True))
    with counted(REQUESTS, policy="p0", splitter="request-aligned", plugins=answer) as (wrapped, calls):
        parts_of(wrapped, calls, np.arange(19), starts)
        assert (wrapped.last_report.sizes, wrapped.last_report.limit) == ((10, 9), 10)


def test_a_hard_limit_holds_where_the_parts_of_a_count_are_uneven() -> None:
    """5 rows in three parts by the floor rule are 1, 1, 3."""
    for hard, sizes in ((False, (1, 1, 3)), (True, (1, 1, 1, 2))):
        answers = Answering(Proposal(count=3), Proposal(limit=2, hard=hard))
        with counted(ROWS, policy="p0,p1", splitter="floor", plugins=answers) as (wrapped, calls):
            parts_of(wrapped, calls, np.arange(5))
            assert wrapped.last_report.sizes == sizes


@pytest.mark.pitfall(22)
def test_where_there_is_nothing_to_cut_no_policy_is_asked() -> None:
    with counted(ROWS, policy="p0", plugins=Answering(Proposal(limit=0))) as (wrapped, calls):
        for rows, reason in ((0, "empty batch"), (1, "nothing to cut: one row")):
            assert wrapped(np.arange(rows)).shape == (rows,)
            assert (wrapped.last_report.sizes, wrapped.last_report.reason) == ((rows,), reason)
        with pytest.raises(PolicyError, match="limit=0"):
            wrapped(np.arange(2))
    assert calls.sizes == [0, 1]


def test_more_parts_than_may_be_are_refused() -> None:
    answers = Answering(Proposal(count=9))
    with (
        counted(ROWS, policy="p0", max_ubatches=8, plugins=answers) as (wrapped, _),
        pytest.raises(SliceError, match="num_ubatches is 9, above the cap of 8"),
    ):
        wrapped(np.arange(10))


@given(rows=st.integers(2, 200), limit=st.integers(1, 30), most=st.integers(2, 20))
def test_a_limit_of_a_policy_makes_no_more_parts_than_there_may_be(rows: int, limit: int, most: int) -> None:
    """As many as rows of the smallest size that is allowed fill; a part that is too large for its memory is
    cut further where it runs."""
    size = max(limit, -(-rows // most))
    answers = Answering(Proposal(limit=limit))
    with counted(ROWS, policy="p0", max_ubatches=most, plugins=answers) as (wrapped, calls):
        assert parts_of(wrapped, calls, np.arange(rows)) == -(-rows // size)


def test_a_cap_of_the_user_that_makes_more_is_refused() -> None:
    """It is never exceeded."""
    with (
        counted(ROWS, max_tokens_per_ubatch=1, max_ubatches=8) as (wrapped, _),
        pytest.raises(SliceError, match="limit 1 makes 10 ubatches, above the cap of 8"),
    ):
        wrapped(np.arange(10))


def test_a_step_like_the_one_before_gets_the_same_plan() -> None:
    with counted(ROWS, num_ubatches=3) as (wrapped, _):
        plans = []
        planner = wrapped._engine.planner
        make = planner.plan
        planner.plan = lambda *request: plans.append(make(*request)) or plans[-1]
        for rows in (10, 10, 12):
            wrapped(np.arange(rows))
    assert plans[0] is plans[1] and plans[2].sizes == (4, 4, 4)
