"""Threads that the system will not start: real limits, each in a process of its own, and drawn refusals."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.errors import ThreadStartError
from microbatch.turns.runtime import ThreadRuntime

ROWS = np.arange(40.0).reshape(20, 2)


class Refusing(ThreadRuntime):
    """Starts the first `kept` threads, and no more until it is told to."""

    __slots__ = ("asked", "error", "kept")

    def __init__(self, kept: int, error: type[Exception] = RuntimeError) -> None:
        self.kept, self.error, self.asked = kept, error, 0

    def spawn(self, function: Any, *, name: str) -> Any:
        self.asked += 1
        if self.asked > self.kept:
            raise self.error("can't start new thread")
        return super().spawn(function, name=name)


class Calls:
    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, x: Any) -> Any:
        self.rows.append(len(x))
        dbo.dbo_yield()
        return x + 1


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("microbatch.step.routes.usable_cores", lambda: 8)


def options(**more: Any) -> dict[str, Any]:
    return {"policy": "fixed", "num_ubatches": 6, "thread_pool_size": 6, "verify": "never", **more}


@pytest.mark.case(28)
@given(kept=st.integers(0, 7), error=st.sampled_from([RuntimeError, MemoryError]))
def test_parts_side_by_side_run_on_the_threads_that_could_be_started(
    kept: int, error: type[Exception]
) -> None:
    """Down to the caller alone; the report says on how many, and why."""
    calls = Calls()
    runtime = Refusing(kept, error)
    with microbatch.wrap(calls, schedule="parallel", runtime=runtime, **options()) as wrapped:
        np.testing.assert_array_equal(wrapped(ROWS), ROWS + 1)
        report = wrapped.last_report
        assert report is not None and sum(calls.rows) == len(ROWS) and len(report.sizes) == 6
        assert report.workers == min(6, kept + 1)
        said = f"on {kept + 1} of 6 threads, as thread 'microbatch-{kept + 1}' cannot be started"
        assert (said in report.reason) == (kept < 5)


@pytest.mark.case(28)
@given(kept=st.integers(0, 7), error=st.sampled_from([RuntimeError, MemoryError]))
def test_where_ubatches_that_take_turns_lack_a_thread_none_of_them_begins(
    kept: int, error: type[Exception]
) -> None:
    """Not even where it is memory that a thread lacks: nothing is tried again in its place."""
    calls, runtime = Calls(), Refusing(kept, error)
    with microbatch.wrap(calls, schedule="pingpong", runtime=runtime, **options()) as wrapped:
        if kept < 5:
            with pytest.raises(ThreadStartError, match="no ubatch of the step has begun"):
                wrapped(ROWS)
            assert calls.rows == []
            runtime.kept = 1000
        np.testing.assert_array_equal(wrapped(ROWS), ROWS + 1)
        assert sum(calls.rows) == len(ROWS)


def test_a_caller_whose_threads_are_busy_with_other_steps_runs_its_parts_itself() -> None:
    meeting, threads = threading.Barrier(3), set[int]()

    def function(x: Any) -> Any:
        threads.add(threading.get_ident())
        if x[0, 0] < 0:
            meeting.wait(30)  # both threads of the first step are in here, and this one knows
            meeting.wait(30)
        return x + 1

    small = options(num_ubatches=2, thread_pool_size=2)
    with microbatch.wrap(function, schedule="parallel", **small) as wrapped:
        waiting = np.full((2, 2), -1.0)
        first = threading.Thread(target=lambda: wrapped(waiting))
        first.start()
        meeting.wait(30)
        threads.clear()
        np.testing.assert_array_equal(wrapped(ROWS), ROWS + 1)
        report = wrapped.last_report
        assert report is not None and report.workers == 1
        assert "on 1 of 2 threads, as the others are busy with other steps" in report.reason
        assert threads == {threading.get_ident()}
        meeting.wait(30)
        first.join(30)
        assert wrapped._engine._runner.workers.num_threads == 1


@pytest.mark.case(39)
def test_a_nested_step_does_without_the_threads_of_the_step_around_it() -> None:
    def function(x: Any) -> Any:
        return inner(x) + 1 if len(x) > 2 else x * 2

    with microbatch.wrap(function, schedule="parallel", **options(thread_pool_size=3)) as inner:
        np.testing.assert_array_equal(inner(ROWS), ROWS * 2 + 1)
        assert inner._engine._runner.workers.num_threads <= 2


SCRIPT = """
import os, resource, sys, threading
import numpy as np
import microbatch, microbatch.step.routes as routes
from microbatch import dbo
from microbatch.errors import ThreadStartError

routes.usable_cores = lambda: 8
calls, rows = [], np.ones((12, 2))

def function(x):
    calls.append(len(x))
    dbo.dbo_yield()
    return x + 1

options = {"policy": "fixed", "num_ubatches": 5, "verify": "never"}
make = lambda schedule: microbatch.wrap(function, schedule=schedule, thread_pool_size=6, **options)

def attempt(schedule):
    calls.clear()
    wrapped = make(schedule)
    try:
        assert (wrapped(rows) == rows + 1).all()
    except ThreadStartError as error:
        return str(error)
    assert sum(calls) == 12
    return wrapped.last_report.reason

for schedule in ("parallel", "pingpong"):
    assert "start" not in attempt(schedule)  # imports what is imported when it is first used
"""

LIMITS = {
    "processes": """
if os.getuid() == 0:  # whom no number of processes bounds
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
lift = lambda: resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
""",
    "memory for one stack and no more": """
pages = int(open("/proc/self/statm").read().split()[0])
threading.stack_size(512 << 20)
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (800 << 20), hard))
def lift():
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    threading.stack_size(0)
""",
}
AFTER = {
    "processes": """
refused = attempt("pingpong")
assert "cannot be started" in refused and "no ubatch of the step has begun" in refused, refused
assert calls == []
reason = attempt("parallel")
assert "of 5 threads, as thread" in reason and "cannot be started" in reason, reason
""",
    "memory for one stack and no more": """
for schedule in ("parallel", "pingpong"):
    reason = attempt(schedule)
    assert "the address space has no room for more threads" in reason, reason
""",
}
LIFTED = """
lift()
for schedule in ("parallel", "pingpong"):
    reason = attempt(schedule)
    assert "start" not in reason and "room" not in reason, reason
os._exit(0)
"""


@pytest.mark.case(28)
@pytest.mark.skipif(sys.platform != "linux", reason="such limits, and /proc, are those of Linux")
@pytest.mark.parametrize("limit", LIMITS)
def test_under_a_real_limit_steps_run_on_fewer_threads_or_are_refused_whole(limit: str) -> None:
    """Room in the address space can be seen before a thread is started, so nothing is refused there."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + LIMITS[limit] + AFTER[limit] + LIFTED],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
