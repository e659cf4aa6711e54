"""The front door: same result as before, the first error as it was, and clear words for what cannot be
wrapped."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import Proposal, SizingRequest, StepReport
from microbatch.errors import ArgumentTypeError, ClosedError, LayoutError, SliceError, UnknownNameError
from microbatch.loading.plugins import Plugins

SCHEDULES = ("sequential", "parallel")


def double(x: Any) -> Any:
    return x * 2


@given(
    rows=st.integers(0, 70),
    count=st.integers(1, 9),
    splitter=st.sampled_from(["even", "floor", "packed", "request-aligned"]),
    schedule=st.sampled_from(SCHEDULES),
    dtype=st.sampled_from(["f4", "i2", "?", "c8"]),
)
def test_a_wrapped_call_returns_what_the_plain_call_returns(
    rows: int, count: int, splitter: str, schedule: str, dtype: str
) -> None:
    x = np.arange(rows * 3).reshape(rows, 3).astype(dtype)
    with microbatch.wrap(np.copy, num_ubatches=count, splitter=splitter, schedule=schedule) as wrapped:
        result = wrapped(x)
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(result, x)


class LeavesItOpen(Plugins):
    """Plugins whose only policy says "cut" and not how, so that the planner decides."""

    def policy(self, name: str, **options: Any) -> Any:
        class Open:
            def propose(self, request: SizingRequest) -> Proposal:
                return Proposal()

            def observe(self, report: StepReport) -> None:
                pass

        return Open()


@pytest.mark.counted
@pytest.mark.pitfall(22)
@pytest.mark.parametrize("plugins", [Plugins, LeavesItOpen])
@pytest.mark.parametrize("schedule", [*SCHEDULES, "pingpong", "streamed"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_batches_as_small_as_their_number_of_parts(count: int, schedule: str, plugins: type[Plugins]) -> None:
    """Sizes 0, 1, n - 1, n and n + 1 for n parts, by a policy that says how many and by one that leaves it
    open."""
    sizes: list[int] = []

    def watch(x: Any) -> Any:
        sizes.append(len(x))
        return x + 1

    with microbatch.wrap(watch, num_ubatches=count, schedule=schedule, plugins=plugins()) as wrapped:
        for rows in sorted({0, 1, count - 1, count, count + 1}):
            sizes.clear()
            x = np.arange(rows * 2.0).reshape(rows, 2)
            np.testing.assert_array_equal(wrapped(x), x + 1)
            assert sum(sizes) == rows
            assert max(sizes) - min(sizes) <= 1
            assert 0 not in sizes or sizes == [0]
            assert len(sizes) == max(1, min(count, rows))


@pytest.mark.counted
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_row_is_seen_exactly_once(schedule: str) -> None:
    seen: list[int] = []

    def watch(x: Any) -> Any:
        seen.extend(x.tolist())
        return x

    with microbatch.wrap(watch, num_ubatches=7, schedule=schedule) as wrapped:
        wrapped(np.arange(50))
    assert sorted(seen) == list(range(50))


@pytest.mark.counted
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_first_error_is_the_one_raised_with_its_ubatch_named(schedule: str) -> None:
    def fail_at_30(x: Any) -> Any:
        if 30 in x:
            raise KeyError("row 30")
        return x

    with microbatch.wrap(fail_at_30, num_ubatches=5, schedule=schedule) as wrapped:
        with pytest.raises(KeyError, match="row 30") as caught:
            wrapped(np.arange(50))
        assert any("ubatch 3 of 5" in note for note in caught.value.__notes__)
        assert caught.traceback[-1].name == "fail_at_30"
        np.testing.assert_array_equal(wrapped(np.arange(20)), np.arange(20))


@pytest.mark.counted
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_and_the_next_step_works(schedule: str, kind: type[BaseException]) -> None:
    def interrupt(x: Any) -> Any:
        if x[0] == 0:
            raise kind
        return x

    with microbatch.wrap(interrupt, num_ubatches=4, schedule=schedule) as wrapped:
        with pytest.raises(kind):
            wrapped(np.arange(8))
        np.testing.assert_array_equal(wrapped(np.arange(1, 9)), np.arange(1, 9))


def test_out_takes_the_result() -> None:
    out = np.empty((10, 2))
    with microbatch.wrap(double, num_ubatches=3) as wrapped:
        assert wrapped(np.ones((10, 2)), out=out) is out
    np.testing.assert_array_equal(out, np.full((10, 2), 2.0))


def test_out_takes_the_result_of_a_step_that_is_not_cut() -> None:
    out = np.empty(3)
    with microbatch.wrap(double) as wrapped:
        assert wrapped(np.ones(3), out=out) is out
    np.testing.assert_array_equal(out, [2, 2, 2])


def test_out_may_be_a_function_that_allocates() -> None:
    asked: list[tuple[int, ...]] = []

    def allocate(shape: Any, like: Any) -> Any:
        asked.append(tuple(shape))
        return np.empty(shape, like.dtype)

    with microbatch.wrap(double, num_ubatches=4) as wrapped:
        result = wrapped(np.ones((9, 2)), out=allocate)
    assert asked == [(9, 2)]
    np.testing.assert_array_equal(result, np.full((9, 2), 2.0))


@pytest.mark.counted
def test_given_slices_are_the_cut() -> None:
    sizes: list[int] = []

    def note(x: Any) -> Any:
        sizes.append(len(x))
        return x

    slices = [microbatch.UBatchSlice.from_range(a, b, a, b) for a, b in ((0, 1), (1, 7), (7, 9))]
    with microbatch.wrap(note, schedule="sequential") as wrapped:
        wrapped(np.arange(9), ubatch_slices=slices)
        assert sizes == [1, 6, 2]
        assert wrapped.last_report is not None
        assert wrapped.last_report.reason == "ubatch_slices given"
        with pytest.raises(SliceError):
            wrapped(np.arange(9), ubatch_slices=slices[:2])


def test_the_report_tells_what_was_done() -> None:
    with microbatch.wrap(double, num_ubatches=3, schedule="sequential") as wrapped:
        assert wrapped.last_report is None
        wrapped(np.ones(10))
        report = wrapped.last_report
    assert report is not None
    assert report.sizes == (4, 3, 3)
    assert (report.schedule, report.backend, report.policy, report.num_tokens) == (
        "sequential",
        "cpu",
        "fixed",
        10,
    )
    assert len(report.ubatch_seconds) == 3
    assert report.reason


def test_progress_counts_all_rows() -> None:
    told: list[tuple[int, int]] = []
    with microbatch.wrap(
        double, num_ubatches=4, schedule="sequential", progress=lambda done, total: told.append((done, total))
    ) as wrapped:
        wrapped(np.ones(10))
    assert told == [(3, 10), (6, 10), (8, 10), (10, 10)]


def test_attributes_pass_through_and_unwrap_gives_the_thing() -> None:
    class Model:
        scale = 3

        def __call__(self, x: Any) -> Any:
            return x * self.scale

    model = Model()
    wrapped = microbatch.UBatchWrapper(model)
    assert wrapped.scale == 3
    assert wrapped.unwrap() is model
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapped.nothing


def test_compute_slices_and_prepare_contexts() -> None:
    wrapped = microbatch.UBatchWrapper(double, microbatch.UBatchConfig(num_ubatches=3))
    slices = wrapped.compute_slices(10, 10)
    assert [piece.num_tokens for piece in slices] == [4, 3, 3]
    contexts = wrapped.prepare_contexts(slices)
    assert [context.slice_info for context in contexts] == slices
    assert len(wrapped.compute_slices(2, 2)) == 2


def test_slice_inputs_gives_views() -> None:
    wrapped = microbatch.UBatchWrapper(double)
    x = np.arange(12).reshape(6, 2)
    part = wrapped.slice_inputs({"x": x}, microbatch.UBatchSlice.from_range(2, 4, 2, 4))
    assert np.shares_memory(part["x"], x)
    np.testing.assert_array_equal(part["x"], x[2:4])


@pytest.mark.bad_input(63)
def test_a_call_after_shutdown_says_so() -> None:
    wrapped = microbatch.wrap(double)
    wrapped.shutdown()
    wrapped.shutdown()
    with pytest.raises(ClosedError, match="shut down"):
        wrapped(np.ones(4))


async def _coroutine(x: Any) -> Any:
    return x


def _generator(x: Any) -> Any:
    yield x


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        ([1], "an object of type list cannot be called; pass a function"),
        (dict, "the class dict was given; pass an instance"),
        (_coroutine, "the function is async"),
        (_generator, "the function is a generator"),
    ],
    ids=["31 not callable", "32 class", "33 async", "33 generator"],
)
def test_what_cannot_be_wrapped_is_refused(thing: Any, text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=text):
        microbatch.wrap(thing)


def test_34_already_wrapped_is_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="already wrapped"):
        microbatch.wrap(microbatch.wrap(double))


def test_2_nothing_to_split_is_said() -> None:
    with pytest.raises(LayoutError, match="nothing to split"):
        microbatch.wrap(lambda text: text)("only a constant")


@pytest.mark.parametrize(
    ("options", "text"),
    [({"schedule": "paralel"}, "parallel"), ({"backend": "cpuu"}, "cpu"), ({"policy": "autoo"}, "auto")],
)
def test_unknown_names_get_the_near_match(options: dict[str, Any], text: str) -> None:
    with pytest.raises((UnknownNameError, ValueError), match=f"did you mean '{text}'"):
        microbatch.wrap(double, **options)


@pytest.mark.counted
@pytest.mark.pitfall(22)
@pytest.mark.case(74)
def test_an_empty_batch_is_one_call_with_the_empty_batch() -> None:
    calls: list[int] = []

    def count(x: Any) -> Any:
        calls.append(len(x))
        return x

    with microbatch.wrap(count, num_ubatches=4) as wrapped:
        assert wrapped(np.empty((0, 3))).shape == (0, 3)
    assert calls == [0]


@pytest.mark.bad_input(64)
@pytest.mark.parametrize(
    "make",
    [lambda f: f, lambda f: functools.partial(f), lambda f: lambda x: f(x)],
    ids=["plain", "partial", "closure"],
)
def test_nested_wrappers_work(make: Callable[[Any], Any]) -> None:
    inner = microbatch.wrap(double, num_ubatches=3, schedule="parallel")
    outer = microbatch.wrap(make(inner.unwrap()), num_ubatches=2, schedule="parallel")
    deep = microbatch.wrap(lambda x: inner(x) + 1, num_ubatches=4, schedule="parallel")
    x = np.arange(40.0)
    np.testing.assert_array_equal(outer(x), x * 2)
    np.testing.assert_array_equal(deep(x), x * 2 + 1)
    for wrapped in (inner, outer, deep):
        wrapped.shutdown()


def test_no_thread_outlives_the_wrapper() -> None:
    program = (
        "import threading, gc, numpy, microbatch\n"
        "w = microbatch.wrap(lambda x: x + 1, num_ubatches=8, schedule='parallel')\n"
        "w(numpy.arange(80.0)); del w; gc.collect()\n"
        "deadline = 0\n"
        "[t.join(10) for t in threading.enumerate() if t is not threading.main_thread()]\n"
        "print(threading.active_count())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "1"


def test_more_ubatches_than_a_barrier_has_parties() -> None:
    """Nobody waits there with so many threads, and a step may have as many ubatches as rows."""
    rows, many = np.arange(70_000.0), 70_000
    with microbatch.wrap(double, policy="fixed", num_ubatches=many, max_ubatches=many) as wrapped:
        np.testing.assert_array_equal(wrapped(rows), rows * 2)
        assert wrapped.last_report.num_ubatches == many  # type: ignore[union-attr]
