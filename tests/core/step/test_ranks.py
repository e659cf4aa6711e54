"""Steps that several ranks run together: equally often, one part after another, nothing tried or repeated.

What is not declared is cut in most of these tests because they say that nothing is to be verified.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microbatch
from microbatch import UBatchSlice
from microbatch.errors import (
    ArgumentValueError,
    LayoutError,
    RanksError,
    StepOutOfMemoryError,
    UnprovenError,
    WaitTimeoutError,
)
from microbatch.step import routes
from microbatch.testing.given_plugins import GivenBackends
from microbatch.turns.context import current_ubatch
from tests.support.deterministic import explore
from tests.support.deterministic.runtime import DetRuntime
from tests.support.ranks import FakeGroup, RankBackend, on_all_ranks


class Calls:
    """Counts the calls of one rank, and the rows of each."""

    def __init__(self, work: Callable[[Any], Any] | None = None) -> None:
        self.rows: list[int] = []
        self._work = work or (lambda x: x * 2)

    def __call__(self, x: Any) -> Any:
        self.rows.append(len(x))
        return self._work(x)


@contextmanager
def group_of(*functions: Callable[..., Any], **options: Any) -> Iterator[list[Any]]:
    """A wrapper a rank, told that rows are independent."""
    options = {"verify": "never"} | options
    group = FakeGroup(len(functions), limit=10.0)
    with ExitStack() as held:
        yield [
            held.enter_context(
                microbatch.wrap(
                    function, plugins=GivenBackends(RankBackend(ranks)), backend="rank", **options
                )
            )
            for function, ranks in zip(functions, group.ranks, strict=True)
        ]


def step(wrappers: list[Any], *batches: Any, **kwargs: Any) -> list[Any]:
    """One step of all ranks: what each returned or raised."""
    return on_all_ranks(
        [functools.partial(wrapper, x, **kwargs) for wrapper, x in zip(wrappers, batches, strict=True)]
    )


def rows(count: int) -> Any:
    return np.arange(count * 2.0).reshape(count, 2)


def test_the_largest_count_is_run_by_all() -> None:
    calls = [Calls(), Calls(), Calls()]
    with group_of(*calls, policy="threshold", max_tokens_per_ubatch=3) as wrappers:
        answers = step(wrappers, rows(12), rows(5), rows(0))
        for answer, count in zip(answers, (12, 5, 0), strict=True):
            np.testing.assert_array_equal(answer, rows(count) * 2)
        assert [each.rows for each in calls] == [[3, 3, 3, 3], [2, 1, 1, 1], [0, 0, 0, 0]]
        assert "4 calls agreed with other ranks" in wrappers[1].last_report.reason
        assert "4 calls agreed with other ranks, 3 of them dummies" in wrappers[2].last_report.reason
        assert wrappers[1].last_report.sizes == (2, 1, 1, 1)


def test_parts_that_are_made_equal_keep_their_multiple() -> None:
    calls = [Calls(), Calls()]
    with group_of(*calls, policy="threshold", max_tokens_per_ubatch=4, multiple_of=4) as wrappers:
        big, small = step(wrappers, rows(16), rows(10))
        np.testing.assert_array_equal(big, rows(16) * 2)
        np.testing.assert_array_equal(small, rows(10) * 2)
        assert [each.rows for each in calls] == [[4, 4, 4, 4], [4, 4, 2, 2]]


def test_fewer_rows_than_parts_are_made_up_for_by_dummies() -> None:
    calls = [Calls(), Calls()]
    with group_of(*calls, num_ubatches=5) as wrappers:
        big, small = step(wrappers, rows(10), rows(2))
        np.testing.assert_array_equal(big, rows(10) * 2)
        np.testing.assert_array_equal(small, rows(2) * 2)
        assert [each.rows for each in calls] == [[2] * 5, [1] * 5]
        report = wrappers[1].last_report
        assert report.sizes == (1, 1) and len(report.ubatch_seconds) == 2


def test_a_dummy_writes_into_no_row() -> None:
    """It is on copies, as the rows have been written by their own part."""

    def in_place(x: Any) -> Any:
        x += 1
        return x

    with group_of(in_place, in_place, num_ubatches=4) as wrappers:
        batches = rows(8), rows(1)
        for answer, x, count in zip(step(wrappers, *batches), batches, (8, 1), strict=True):
            np.testing.assert_array_equal(answer, rows(count) + 1)
            np.testing.assert_array_equal(x, rows(count) + 1)


def test_a_rank_without_rows_returns_what_the_function_returned() -> None:
    """The plain call's result, whatever it is, and given the very arguments."""
    seen: list[Any] = []
    empty, marker = rows(0), object()

    def odd(x: Any) -> Any:
        seen.append(x)
        return marker

    with group_of(Calls(), odd, num_ubatches=3) as wrappers:
        odd.__qualname__ = "Calls"
        _, answer = step(wrappers, rows(6), empty)
        assert answer is marker
        assert len(seen) == 3 and all(x is empty for x in seen)


def test_a_result_given_by_the_caller_is_filled() -> None:
    with group_of(Calls(), Calls(), num_ubatches=3) as wrappers:
        places = rows(6), rows(1)
        on_all_ranks([functools.partial(w, p.copy(), out=p) for w, p in zip(wrappers, places, strict=True)])
        for place, count in zip(places, (6, 1), strict=True):
            np.testing.assert_array_equal(place, rows(count) * 2)


def test_named_slices_are_run_as_named() -> None:
    calls = [Calls(), Calls()]
    with group_of(*calls) as wrappers:
        slices = [UBatchSlice(token_slice=slice(*e), req_slice=slice(*e)) for e in ((0, 1), (1, 6))]
        answers = on_all_ranks(
            [lambda: wrappers[0](rows(6), ubatch_slices=slices), lambda: wrappers[1](rows(4))]
        )
        assert not any(isinstance(answer, BaseException) for answer in answers)
        assert [each.rows for each in calls] == [[1, 5], [2, 2]]


def test_parts_never_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "usable_cores", lambda: 8)
    with group_of(Calls(), Calls(), max_tokens_per_ubatch=2) as wrappers:
        step(wrappers, rows(8), rows(8))
        report = wrappers[0].last_report
        assert report.schedule == "sequential" and "not in parallel: one of 2 ranks" in report.reason


def test_parallel_that_was_named_is_an_error_that_says_what_to_do() -> None:
    calls = [Calls(), Calls()]
    with group_of(*calls, schedule="parallel", num_ubatches=2) as wrappers:
        for answer in step(wrappers, rows(8), rows(8)):
            assert isinstance(answer, ArgumentValueError)
            for words in ("one of 2 ranks", "wrong numbers", "'pingpong'", "ranks='independent'"):
                assert words in str(answer)
    assert [each.rows for each in calls] == [[], []]


def test_independent_ranks_run_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked nothing; `auto` still keeps parts apart, and `parallel` may be named."""
    monkeypatch.setattr(routes, "usable_cores", lambda: 8)
    group = FakeGroup(2)
    plugins = GivenBackends(RankBackend(group.ranks[0]))
    options: dict[str, Any] = {"plugins": plugins, "backend": "rank", "ranks": "independent"}
    for schedule, ran in (("auto", "sequential"), ("parallel", "parallel")):
        with microbatch.wrap(lambda x: x * 2, num_ubatches=2, schedule=schedule, **options) as wrapped:
            np.testing.assert_array_equal(wrapped(rows(8)), rows(8) * 2)
            assert wrapped.last_report.schedule == ran
    assert group.rounds == 0


@pytest.mark.parametrize("verify", ["first", "always"])
def test_nothing_is_tried_and_only_what_is_declared_is_cut(verify: str) -> None:
    for layout, expected in ((declared(), [4, 4]), (None, [8])):
        calls = [Calls(), Calls()]
        with (
            group_of(*calls, max_tokens_per_ubatch=4, verify=verify, layout=layout) as wrappers,
            nullcontext() if layout else pytest.warns(UserWarning, match="the function is not cut"),
        ):
            step(wrappers, rows(8), rows(8))
        assert [each.rows for each in calls] == [expected, expected]


def declared() -> microbatch.Layout:
    """Rows in, rows out."""
    return microbatch.Layout(inputs={"0": microbatch.tokens()}, outputs={"output": microbatch.tokens()})


@settings(deadline=None)
@given(
    counts=st.lists(st.sampled_from((0, 1, 2, 5, 9, 40)), min_size=2, max_size=5),
    options=st.fixed_dictionaries(
        {"schedule": st.sampled_from(("auto", "sequential", "pingpong", "streamed"))},
        optional={
            "num_ubatches": st.integers(1, 5),
            "max_tokens_per_ubatch": st.integers(1, 9),
            "verify": st.sampled_from(("first", "always")),
            "memory_limit": st.just("64KiB"),
        },
    ),
)
@pytest.mark.filterwarnings("ignore:the function is not cut")
@pytest.mark.parametrize("mixes", [True, False])
def test_answers_are_those_of_the_plain_call_with_equally_many_calls(
    mixes: bool, counts: list[int], options: dict[str, Any]
) -> None:
    """Rows mixed and nothing declared; or independent rows, declared."""
    work = mixing if mixes else doubled
    calls = [Calls(work) for _ in counts]
    batches = [rows(count) for count in counts]
    with group_of(
        *calls, **({"verify": "first"} | options), layout=None if mixes else declared()
    ) as wrappers:
        for _ in range(2):
            for answer, x in zip(step(wrappers, *batches), batches, strict=True):
                np.testing.assert_array_equal(answer, work(x))
    assert len({len(each.rows) for each in calls}) == 1


def mixing(x: Any) -> Any:
    """Of each row something that depends on all of them."""
    return x - x.sum(0)


def doubled(x: Any) -> Any:
    return x * 2


def test_a_rank_that_declares_nothing_beside_one_that_does_is_refused_on_both() -> None:
    """It could not cut its batch into as many parts; with too few rows for parts of its own too."""
    group, calls = FakeGroup(2, limit=10.0), [Calls(mixing), Calls(mixing)]
    wrappers = [
        microbatch.wrap(
            function,
            plugins=GivenBackends(RankBackend(ranks)),
            backend="rank",
            layout=layout,
            max_tokens_per_ubatch=4,
        )
        for function, ranks, layout in zip(calls, group.ranks, (declared(), None), strict=True)
    ]
    for answer in step(wrappers, rows(8), rows(2)):
        assert isinstance(answer, RanksError) and "rank 1 must not cut its batch" in str(answer)
    assert [each.rows for each in calls] == [[], []]


def test_the_warning_says_why_and_what_to_do_once() -> None:
    with group_of(Calls(mixing), Calls(mixing), num_ubatches=2, verify="first") as wrappers:
        with pytest.warns(UserWarning) as told:  # of the first step, and in the second it would be an error
            step(wrappers, rows(8), rows(8))
        step(wrappers, rows(8), rows(8))
        report = wrappers[0].last_report
    assert len(told) == 2  # one a rank
    for words in ("several ranks", "verify='never'", "ranks='independent'", "Layout"):
        assert words in str(told[0].message)
    assert report.sizes == (8,) and "not cut: several ranks" in report.reason


@pytest.mark.parametrize("named", ["policy", "slices"])
def test_parts_that_were_named_of_what_is_not_declared_are_an_error(named: str) -> None:
    """As outside of a group, where they are refuted; the rank without rows learns of it."""
    options = {"policy": "threshold", "max_tokens_per_ubatch": 4} if named == "policy" else {}
    parts = [UBatchSlice(token_slice=slice(*e), req_slice=slice(*e)) for e in ((0, 3), (3, 8))]
    with group_of(Calls(mixing), Calls(mixing), verify="first", **options) as wrappers:
        kwargs = {"ubatch_slices": parts} if named == "slices" else {}
        first, second = on_all_ranks([lambda: wrappers[0](rows(8), **kwargs), lambda: wrappers[1](rows(0))])
    assert isinstance(first, UnprovenError) and "verify='never'" in str(first)
    assert isinstance(second, RanksError)


@pytest.mark.filterwarnings("ignore:the function is not cut")
def test_sizes_that_may_be_read_in_several_ways_are_no_error_where_nothing_is_cut() -> None:
    with group_of(lambda x, w: x @ w, lambda x, w: x @ w, verify="first") as wrappers:
        answers = on_all_ranks([lambda w=w: w(rows(4000), np.ones((2, 2))) for w in wrappers])
        np.testing.assert_array_equal(answers, [rows(4000) @ np.ones((2, 2))] * 2)


def test_what_sizes_do_not_say_for_certain_is_an_error() -> None:
    """As nothing is tried: an array with another number of rows."""
    wrapped_by = {"max_tokens_per_ubatch": 2}
    with group_of(lambda x, w: x @ w, lambda x, w: x @ w, **wrapped_by) as wrappers:
        answers = on_all_ranks([lambda w=w: w(rows(8), np.ones((2, 2))) for w in wrappers])
        assert all(isinstance(answer, LayoutError) for answer in answers)


@pytest.mark.parametrize("schedule", ["sequential", "pingpong"])
def test_running_out_of_memory_is_not_tried_again(schedule: str) -> None:
    def hungry(x: Any) -> Any:
        raise MemoryError("no room")

    calls = [Calls(hungry), Calls()]
    with group_of(*calls, num_ubatches=2, schedule=schedule) as wrappers:
        first, second = step(wrappers, rows(8), rows(8))
        assert isinstance(first, StepOutOfMemoryError) and "in a step that other ranks run too" in str(first)
        assert "raised on rank 0 in a step that 2 ranks run together" in "".join(first.__notes__)
        np.testing.assert_array_equal(second, rows(8) * 2)
    assert calls[0].rows == [4]


def test_no_part_is_made_smaller_to_see_what_it_needs() -> None:
    """A guard of the memory would call once more on the rank where it knows nothing."""
    calls = [Calls(), Calls()]
    with group_of(*calls, num_ubatches=2, memory_limit="1MiB") as wrappers:
        for _ in range(3):
            step(wrappers, rows(512), rows(64))
    assert len(calls[0].rows) == len(calls[1].rows) == 6


def test_an_error_before_the_step_reaches_its_caller_and_the_others() -> None:
    calls = [Calls(), Calls()]
    with group_of(*calls, num_ubatches=2) as wrappers:
        bad, good = step(wrappers, np.zeros(()), rows(4))
        assert isinstance(bad, LayoutError)
        assert isinstance(good, RanksError) and "rank 0 raised before its step began" in str(good)
        answers = step(wrappers, rows(4), rows(4))
        np.testing.assert_array_equal(answers, [rows(4) * 2] * 2)


def test_an_error_in_the_function_is_its_callers() -> None:
    error = ValueError("row")

    def failing(x: Any) -> Any:
        raise error

    with group_of(Calls(), Calls(failing), num_ubatches=2) as wrappers:
        fine, bad = step(wrappers, rows(4), rows(4))
        assert bad is error
        assert "raised on rank 1" in "".join(error.__notes__)
        np.testing.assert_array_equal(fine, rows(4) * 2)


def test_a_rank_that_stays_away_ends_the_wait_of_the_others() -> None:
    with (
        group_of(Calls(), Calls(), barrier_timeout=0.01) as wrappers,
        pytest.raises(WaitTimeoutError, match=r"pass ranks='independent'"),
    ):
        wrappers[0](rows(4))


def test_other_schedules_on_other_ranks_are_refused() -> None:
    calls = [Calls(), Calls()]
    group = FakeGroup(2)
    wrappers = [
        microbatch.wrap(
            function, plugins=GivenBackends(RankBackend(ranks)), backend="rank", schedule=schedule
        )
        for function, ranks, schedule in zip(calls, group.ranks, ("sequential", "pingpong"), strict=True)
    ]
    for answer in step(wrappers, rows(4), rows(4)):
        assert isinstance(answer, RanksError) and "the same schedule" in str(answer)


def test_a_wrapper_inside_of_a_wrapper_agrees_for_itself() -> None:
    group = FakeGroup(2, limit=10.0)

    def rank(ranks: Any) -> Any:
        options: dict[str, Any] = {
            "plugins": GivenBackends(RankBackend(ranks)),
            "backend": "rank",
            "verify": "never",
        }
        inner = microbatch.wrap(Calls(), num_ubatches=2, **options)
        outer = microbatch.wrap(lambda x: inner(x) + 1, num_ubatches=3, **options)
        return lambda x: (outer(x), inner.unwrap().rows)

    answers = step([rank(ranks) for ranks in group.ranks], rows(7), rows(1))
    for (answer, _), count in zip(answers, (7, 1), strict=True):
        np.testing.assert_array_equal(answer, rows(count) * 2 + 1)
    assert len(answers[0][1]) == len(answers[1][1]) == 6


def test_a_process_that_becomes_a_rank_and_is_none_any_more() -> None:
    """Asked at every step, and outside of a group all is as ever."""
    backend, calls = RankBackend(), Calls()
    group = object()
    with microbatch.wrap(
        calls,
        plugins=GivenBackends(backend),
        backend="rank",
        process_group=group,
        max_tokens_per_ubatch=2,
        verify="never",
        barrier_timeout=0.01,
    ) as wrapped:
        wrapped(rows(4))
        backend.found = FakeGroup(2).ranks[0]
        with pytest.raises(WaitTimeoutError):
            wrapped(rows(4))
        backend.found = None
        wrapped(rows(4))
    assert calls.rows == [2] * 4
    assert set(map(id, backend.asked)) == {id(group)}


def test_progress_counts_rows_and_no_dummies() -> None:
    told: list[tuple[int, int]] = []
    with group_of(
        Calls(), Calls(), num_ubatches=4, progress=lambda done, total: told.append((done, total))
    ) as wrappers:
        step(wrappers, rows(8), rows(1))
    assert (1, 1) in told and (8, 8) in told
    assert all(done <= total for done, total in told)


@pytest.mark.parametrize("threads", [{}, {"thread_pool_size": 1}, {"thread_pool_size": 3}])
def test_groups_that_take_turns_are_the_same_on_all_ranks(threads: dict[str, int]) -> None:
    """As many at a time on the rank with slices of its own, which raise the default number of threads there:
    collectives of two groups never meet."""
    orders: list[list[int]] = [[], []]

    def noting(rank: int) -> Callable[[Any], Any]:
        def function(x: Any) -> Any:
            for _ in range(2):
                context = current_ubatch()
                orders[rank].append(-1 if context is None else context.ubatch_id)
                microbatch.dbo.dbo_yield()
            return x

        return function

    slices = [UBatchSlice(token_slice=slice(at, at + 1), req_slice=slice(at, at + 1)) for at in range(5)]
    with group_of(noting(0), noting(1), schedule="pingpong", num_ubatches=2, **threads) as wrappers:
        on_all_ranks([lambda: wrappers[0](rows(5), ubatch_slices=slices), lambda: wrappers[1](rows(9))])
    assert orders[0] == orders[1] and len(orders[0]) == 10


def test_under_drawn_orders_of_events() -> None:
    """The ranks may come to an agreement in any order, and each may be through long before another."""

    def program(runtime: DetRuntime) -> None:
        group = FakeGroup(3, runtime)
        calls = [Calls(), Calls(), Calls()]
        answers: dict[int, Any] = {}

        def rank(number: int) -> None:
            with microbatch.wrap(
                calls[number],
                plugins=GivenBackends(RankBackend(group.ranks[number])),
                backend="rank",
                runtime=runtime,
                policy="threshold",
                max_tokens_per_ubatch=2,
                verify="never",
            ) as wrapped:
                answers[number] = [wrapped(rows(count)) for count in ((4, 1, 0), (1, 6, 2))[number % 2]]

        tasks = [runtime.spawn(functools.partial(rank, number), name=f"rank {number}") for number in range(3)]
        for task in tasks:
            task.join()
        assert len({len(each.rows) for each in calls}) == 1
        for number, counts in enumerate(((4, 1, 0), (1, 6, 2), (4, 1, 0))):
            for answer, count in zip(answers[number], counts, strict=True):
                np.testing.assert_array_equal(answer, rows(count) * 2)

    explore(program, range(25)).check()
