"""How far a step is: each part counted once, told in order by one thread at a time, never at the step's
cost."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.binding.rules import Layout, query_start_loc, tokens
from microbatch.step.progress import AROUND, StepCount, Telling
from microbatch.testing import AdversarialBackend
from microbatch.testing.given_plugins import GivenBackends
from microbatch.turns.runtime import ThreadRuntime
from tests.support.deterministic import DetRuntime, explore, explore_all, fastest_carrier
from tests.support.interrupts import Interrupt, in_thread_of_its_own

SCHEDULES = ["sequential", "parallel", "pingpong", "streamed"]


def double(x: Any) -> Any:
    return x * 2


class Told:
    """A progress function that keeps what it was told, and refuses two calls at the same time."""

    def __init__(self, point: Callable[[], None] = lambda: None) -> None:
        self.calls: list[tuple[int, int]] = []
        self._inside = 0
        self._point = point

    def __call__(self, done: int, total: int) -> None:
        self._inside += 1
        assert self._inside == 1, "two threads tell at the same time"
        self._point()
        self.calls.append((done, total))
        self._inside -= 1

    def check(self, total: int) -> None:
        """Counts grow, and the last one is all."""
        counts = [done for done, _ in self.calls]
        assert counts == sorted(set(counts))
        assert self.calls[-1] == (total, total)
        assert {of for _, of in self.calls} == {total}


@given(rows=st.integers(1, 60), parts=st.integers(1, 12), schedule=st.sampled_from(SCHEDULES))
def test_counts_grow_and_end_with_all_rows(rows: int, parts: int, schedule: str) -> None:
    told = Told()
    with microbatch.wrap(
        double, num_ubatches=parts, schedule=schedule, progress=told, verify="never"
    ) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(rows)), np.arange(rows) * 2)
    told.check(rows)
    if schedule == "sequential":
        assert len(told.calls) == min(rows, parts)


def test_a_step_that_is_not_cut_tells_once_and_an_empty_one_nothing() -> None:
    told = Told()
    with microbatch.wrap(double, num_ubatches=1, progress=told) as wrapped:
        wrapped(np.arange(5))
        assert told.calls == [(5, 5)]
        wrapped(np.arange(0))
        assert told.calls == [(5, 5)]


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    parts=st.integers(1, 12),
    schedule=st.sampled_from(["sequential", "parallel"]),
)
def test_a_request_in_several_parts_is_counted_once(lengths: list[int], parts: int, schedule: str) -> None:
    told = Told()
    starts = np.cumsum([0, *lengths])
    layout = Layout(inputs={"0": tokens(), "1": query_start_loc()}, outputs={"": tokens()})
    with microbatch.wrap(
        lambda x, starts: x * 2, layout=layout, num_ubatches=parts, splitter="even", schedule=schedule,
        progress=told,
    ) as wrapped:  # fmt: skip
        wrapped(np.arange(starts[-1]), starts)
    told.check(len(lengths))


@pytest.mark.counted
@given(rows=st.integers(1, 40), capacity=st.integers(1, 40), schedule=st.sampled_from(SCHEDULES))
def test_rows_that_ran_again_in_smaller_parts_count_once(rows: int, capacity: int, schedule: str) -> None:
    told = Told()

    def hungry(x: Any) -> Any:
        if len(x) > capacity:
            raise MemoryError("no room")
        return x * 2

    with microbatch.wrap(hungry, num_ubatches=3, schedule=schedule, progress=told) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(rows)), np.arange(rows) * 2)
    told.check(rows)


@pytest.mark.counted
def test_parts_that_run_alone_after_they_took_each_others_memory_count_once() -> None:
    told, failures = Told(), [0]

    def hungry(x: Any) -> Any:
        if microbatch.current_ubatch().ubatch_id == 1 and failures[0] < 3:
            failures[0] += 1
            raise MemoryError("no room beside the others")
        return x * 2

    with microbatch.wrap(
        hungry, num_ubatches=3, schedule="parallel", thread_pool_size=2, progress=told
    ) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(3)), np.arange(3) * 2)
    told.check(3)


def test_a_step_that_is_run_again_whole_goes_not_back() -> None:
    told = Told()

    def uneven(x: Any) -> Any:
        """Rows that depend on how many there are, beyond the numbers that are tried."""
        return x * 2 + (len(x) > 60)

    x = np.ones((1 << 14, 64))
    wrapped = microbatch.wrap(uneven, progress=told, schedule="sequential")
    with wrapped, pytest.warns(UserWarning, match="not cut"):
        result = wrapped(x)
    np.testing.assert_array_equal(result, uneven(x))
    told.check(len(x))


def test_a_step_inside_of_a_step_is_rows_of_the_outer_one() -> None:
    told, other = Told(), Told()
    inner = microbatch.wrap(double, num_ubatches=2, schedule="sequential", progress=other, verify="never")

    def recursive(x: Any) -> Any:
        if len(x) > 2:
            return wrapped(x)
        return inner(x)

    wrapped = microbatch.wrap(
        recursive, num_ubatches=4, schedule="parallel", progress=told, verify="never", thread_pool_size=2
    )
    with wrapped, inner:
        np.testing.assert_array_equal(wrapped(np.arange(40)), np.arange(40) * 2)
        told.check(40)
        assert sum(total for done, total in other.calls if done == total) == 40
        told.calls.clear()
        wrapped(np.arange(4))
    told.check(4)
    assert AROUND.get() == ()


def test_a_progress_function_that_runs_a_step_itself_is_not_told_of_it() -> None:
    told: list[int] = []

    def curious(done: int, total: int) -> None:
        told.append(done)
        wrapped(np.arange(4))

    with microbatch.wrap(
        double, num_ubatches=2, progress=curious, schedule="sequential", verify="never"
    ) as wrapped:
        wrapped(np.arange(8))
    assert told == [4, 8]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("at", [0, 1, 3])
def test_what_it_raises_is_told_once_and_harms_nothing(at: int, schedule: str) -> None:
    calls: list[int] = []

    def failing(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) > at or done == total:
            raise ValueError(f"no terminal for {done}")

    with microbatch.wrap(
        double, num_ubatches=4, schedule=schedule, progress=failing, verify="never", thread_pool_size=2
    ) as wrapped:
        for _ in range(2):  # it is asked again in the next step
            calls.clear()
            with pytest.warns(RuntimeWarning) as caught:
                result = wrapped(np.arange(8))
            np.testing.assert_array_equal(result, np.arange(8) * 2)
            (warning,) = caught
            text = str(warning.message)
            assert f"progress raised ValueError: no terminal for {calls[-1]} (at {__file__}" in text
            assert warning.filename == __file__, "the warning is for the line that called"
            assert 1 <= len(calls) <= at + 1
            assert wrapped.last_report is not None and wrapped.last_report.failure is None


def test_a_failing_step_has_its_error_in_a_note() -> None:
    def failing(x: Any) -> Any:
        if x[0] > 3:
            raise KeyError("row")
        return x

    def broken(done: int, total: int) -> None:
        raise ValueError("no terminal")

    with microbatch.wrap(
        failing, num_ubatches=4, schedule="sequential", progress=broken, verify="never"
    ) as wrapped:
        with pytest.raises(KeyError) as caught:
            wrapped(np.arange(8))
        assert any("progress raised ValueError: no terminal" in note for note in caught.value.__notes__)
        with pytest.raises(KeyError) as caught:
            wrapped(np.arange(8))
        assert sum("progress" in note for note in caught.value.__notes__) == 1


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_without_a_text_and_warnings_as_errors_harm_nothing() -> None:
    def broken(done: int, total: int) -> None:
        raise UnprintableError

    with (
        warnings.catch_warnings(),
        microbatch.wrap(double, num_ubatches=2, progress=broken, verify="never") as wrapped,
    ):
        warnings.simplefilter("error")
        np.testing.assert_array_equal(wrapped(np.arange(8)), np.arange(8) * 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_interrupt_in_it_is_one_of_the_step(schedule: str) -> None:
    told = Told()

    def interrupted(done: int, total: int) -> None:
        if done < total:
            raise KeyboardInterrupt
        told(done, total)

    with microbatch.wrap(
        double, num_ubatches=2, schedule=schedule, progress=interrupted, verify="never", policy="fixed"
    ) as wrapped:
        with pytest.raises(KeyboardInterrupt):
            wrapped(np.arange(8))
        wrapped(np.arange(8), ubatch_slices=[microbatch.UBatchSlice.from_range(0, 8, 0, 8)])
    told.check(8)


@in_thread_of_its_own
def test_an_interrupt_at_every_bytecode_leaves_the_next_step_told() -> None:
    telling, calls = Telling(lambda done, total: calls.append(done), ThreadRuntime()), list[int]()

    def step(count: StepCount | None) -> None:
        if count is not None:
            count.total = 2
            count.add(1)
            count.add(1)

    with Interrupt(0) as counting:
        telling.around(step)
    assert counting.seen > 100
    for at in range(1, counting.seen + 1):
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at):
            telling.around(step)
        calls.clear()
        telling.around(step)
        assert calls == [1, 2], f"bytecode {at}: the next step was told as {calls}"


class Adding(int):
    """A count that knows how often one was added."""

    additions = 0

    def __radd__(self, other: int) -> int:
        Adding.additions += 1
        return int(other) + int(self)


@pytest.mark.parametrize("parts", [100, 10_000])
def test_what_a_part_costs_does_not_grow_with_their_number(parts: int) -> None:
    count, Adding.additions = StepCount(Telling(Told(), ThreadRuntime())), 0
    count.total = parts
    for _ in range(parts):
        count.add(Adding(1))
    assert count.told == parts
    assert Adding.additions == parts


def test_one_tells_at_a_time_and_all_that_was_added_is_told_under_every_order() -> None:
    def program(runtime: DetRuntime) -> None:
        told = Told(lambda: runtime.point("inside"))
        count = StepCount(Telling(told, runtime))
        count.total = 6

        def body(requests: int) -> None:
            count.add(requests)

        tasks = [runtime.spawn(partial(body, number), name=f"thread {number}") for number in (1, 2)]
        body(3)
        for task in tasks:
            task.join()
        told.check(6)

    explore_all(program, preemptions=2, limit=3000, carrier=fastest_carrier()).check()
    explore(program, range(300), carrier=fastest_carrier()).check()


def test_two_steps_at_once_are_told_of_one_after_the_other_under_every_order() -> None:
    def program(runtime: DetRuntime) -> None:
        told = Told(lambda: runtime.point("inside"))
        telling = Telling(told, runtime)

        def step(total: int, count: StepCount | None) -> None:
            assert count is not None
            count.total = total
            for _ in range(total):
                count.add(1)

        task = runtime.spawn(lambda: telling.around(partial(step, 3)), name="other")
        telling.around(partial(step, 2))
        task.join()
        for total in (2, 3):
            counts = [done for done, of in told.calls if of == total]
            assert counts == sorted(set(counts)) and counts[-1] == total

    explore_all(program, preemptions=2, limit=3000, carrier=fastest_carrier()).check()
    explore(program, range(300), carrier=fastest_carrier()).check()


@pytest.mark.parametrize("schedule", ["parallel", "pingpong"])
def test_whole_steps_under_drawn_orders(schedule: str) -> None:
    x = np.arange(8)

    def program(runtime: DetRuntime) -> None:
        told = Told(lambda: runtime.point("inside"))
        with microbatch.UBatchWrapper(
            double, runtime=runtime, num_ubatches=4, schedule=schedule, progress=told, verify="never",
            policy="fixed", thread_pool_size=2,
        ) as wrapped:  # fmt: skip
            np.testing.assert_array_equal(wrapped(x), x * 2)
        told.check(8)

    explore(program, range(80), carrier=fastest_carrier()).check()


def test_real_threads_of_one_wrapper_never_tell_at_once() -> None:
    told, done = Told(lambda: time.sleep(0)), list[int]()

    def steps(rows: int) -> None:
        for _ in range(40):
            np.testing.assert_array_equal(wrapped(np.arange(rows)), np.arange(rows) * 2)
        done.append(rows)

    with microbatch.wrap(
        double, num_ubatches=8, schedule="parallel", progress=told, verify="never", thread_pool_size=2
    ) as wrapped:
        threads = [threading.Thread(target=steps, args=(rows,)) for rows in (8, 16, 24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert sorted(done) == [8, 16, 24]
    for rows in done:
        counts = [count for count, total in told.calls if total == rows]
        assert counts.count(rows) == 40


FORKED = """
import os
import numpy as np
import microbatch

def fork() -> bool:
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return child == 0

told, children = [], 0

def forking(done, total):
    global children
    told.append((done, total))
    if children == 0 and fork():
        children = 1
        told.clear()

children = 0
with microbatch.wrap(lambda x: x * 2, num_ubatches=4, schedule="sequential", progress=forking) as w:
    w(np.arange(8))
    assert told[-1] == (8, 8), told
    if children:
        told.clear()
        w(np.arange(12))
        assert told == [(3, 12), (6, 12), (9, 12), (12, 12)], told
"""


def test_a_process_forked_while_it_is_told_goes_on_being_told() -> None:
    """Who told in the parent is not there; what was to be told is."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKED],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_device_tells_as_a_host_does() -> None:
    told, device = Told(), AdversarialBackend()
    with microbatch.wrap(
        double, backend=device.name, plugins=GivenBackends(device), schedule="pingpong", num_ubatches=3,
        policy="fixed", progress=told, verify="never",
    ) as wrapped:  # fmt: skip
        np.testing.assert_array_equal(np.asarray(wrapped(device.array(np.arange(6.0)))), np.arange(6.0) * 2)
    told.check(6)
