"""Threads are started only where there is room for them, and a step runs without where there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo
from microbatch.step import routes, thread_room
from microbatch.step.thread_room import NO_ROOM
from microbatch.testing.given_plugins import GivenBackends
from microbatch_backends.host.backend import CpuBackend
from tests.support.ranks import SameElsewhere

pytestmark = pytest.mark.counted

X = np.arange(24.0).reshape(12, 2)
OPTIONS: dict[str, Any] = {"num_ubatches": 6, "policy": "fixed", "thread_pool_size": 4}
THREADED = ("parallel", "streamed", "pingpong")


class Threads:
    """A function that notes which thread ran each of its calls, and how many were alive at once."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.alive = self.most = 0

    def __call__(self, x: Any) -> Any:
        self.seen.append(threading.get_ident())
        self.alive += 1
        self.most = max(self.most, self.alive)
        dbo.dbo_yield()
        self.alive -= 1
        return x * 2


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: on one core nothing runs side by side."""
    monkeypatch.setattr(routes, "usable_cores", lambda: 4)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Say for how many threads there is address space."""

    def say(threads: int | None) -> None:
        monkeypatch.setattr(thread_room, "address_space_is_limited", lambda: threads is not None)
        monkeypatch.setattr(thread_room, "address_space_left", lambda: threads)
        monkeypatch.setattr(thread_room, "threads_that_fit", lambda left, stack: left)

    return say


@pytest.mark.parametrize("schedule", THREADED)
def test_without_room_for_a_thread_all_runs_in_the_callers(
    schedule: str, room: Callable[[int | None], None]
) -> None:
    """One part after another; the report says why."""
    room(0)
    function = Threads()
    with microbatch.wrap(function, schedule=schedule, **OPTIONS) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)
        report = wrapped.last_report
    assert set(function.seen) == {threading.get_ident()}
    assert function.most == 1
    assert report is not None
    assert report.workers == 1
    assert NO_ROOM in report.reason
    assert len(report.sizes) == 6


@pytest.mark.parametrize("schedule", THREADED)
def test_with_room_only_the_first_part_runs_before_the_others(
    schedule: str, room: Callable[[int | None], None]
) -> None:
    """In the caller's thread: the result is made there, before threads take what it needs."""
    function, calls = Threads(), list[tuple[int, int]]()
    out = np.empty_like(X)

    def made(shape: tuple[int, ...], like: Any) -> Any:
        calls.append((len(function.seen), threading.get_ident()))
        return out

    room(4)
    with microbatch.wrap(function, schedule=schedule, **OPTIONS) as wrapped:
        assert wrapped(X, out=made) is out
        report = wrapped.last_report
    np.testing.assert_array_equal(out, X * 2)
    assert calls == [(1, threading.get_ident())]
    assert report is not None and NO_ROOM not in report.reason


def test_ubatches_take_turns_in_groups_of_as_many_threads_as_there_is_room_for(
    room: Callable[[int | None], None],
) -> None:
    """Here one more than the caller's, so two at a time."""
    room(1)
    function = Threads()
    with microbatch.wrap(function, schedule="pingpong", **{**OPTIONS, "num_ubatches": 7}) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)
        report = wrapped.last_report
    assert function.most == 2
    assert report is not None and NO_ROOM in report.reason


def test_threads_that_there_are_already_need_no_room(room: Callable[[int | None], None]) -> None:
    """They have taken theirs."""
    room(3)
    function = Threads()
    with microbatch.wrap(function, schedule="pingpong", **{**OPTIONS, "num_ubatches": 5}) as wrapped:
        wrapped(X)
        room(0)
        wrapped(X)
        report = wrapped.last_report
    assert report is not None and NO_ROOM not in report.reason


@pytest.mark.parametrize("schedule", ["streamed", "pingpong"])
def test_without_a_limit_nothing_changes(schedule: str, room: Callable[[int | None], None]) -> None:
    """No part runs before the others."""
    room(None)
    function = Threads()
    with microbatch.wrap(function, schedule=schedule, **OPTIONS) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)
    expected = 1 if schedule == "streamed" else 3  # six in two groups
    assert function.most == expected
    assert (threading.get_ident() in function.seen) == (schedule == "pingpong")


def test_greenlets_need_no_room(room: Callable[[int | None], None]) -> None:
    """The caller's thread carries them all."""
    pytest.importorskip("greenlet")
    room(0)
    function = Threads()
    with microbatch.wrap(function, schedule="pingpong", driver="greenlets", **OPTIONS) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)
        report = wrapped.last_report
    assert function.most == 6
    assert report is not None and NO_ROOM not in report.reason


class Ranks(CpuBackend):
    """Other processes run the same step."""

    same = SameElsewhere()

    def ranks(self, group: object | None) -> Any:
        return self.same


def test_several_ranks_run_as_planned(room: Callable[[int | None], None]) -> None:
    """The others may have more room, and all must run their collectives in one order."""
    room(0)
    function, backend = Threads(), Ranks()
    with microbatch.wrap(
        function, schedule="pingpong", backend="cpu", plugins=GivenBackends(backend), **OPTIONS
    ) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)
    assert function.most == 3


@pytest.mark.parametrize("purpose", ["copy_in", "compute", "copy_out"])
@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_where_a_stream_has_no_thread_parts_run_one_at_a_time(
    purpose: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the caller's thread, each once."""
    start, function, backend = threading.Thread.start, Threads(), CpuBackend()

    def sometimes(thread: threading.Thread) -> None:
        if thread.name == f"microbatch-{purpose}":
            raise error
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", sometimes)
    with microbatch.wrap(
        function, schedule="streamed", backend="cpu", plugins=GivenBackends(backend), **OPTIONS
    ) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)
        report = wrapped.last_report
    backend.close()
    assert threading.get_ident() in function.seen
    assert report is not None
    assert f"one at a time, as thread 'microbatch-{purpose}' cannot be started" in report.reason


@pytest.mark.parametrize("schedule", ["streamed", "pingpong"])
def test_a_runtime_error_of_the_function_is_no_lack_of_threads(schedule: str) -> None:
    """It reaches the caller, and nothing is run again."""
    calls = []

    def broken(x: Any) -> Any:
        calls.append(len(x))
        raise RuntimeError("can't start new thread")

    wrapped = microbatch.wrap(broken, schedule=schedule, **OPTIONS)
    with wrapped, pytest.raises(RuntimeError, match="can't start new thread"):
        wrapped(X)
    assert len(calls) <= 6
