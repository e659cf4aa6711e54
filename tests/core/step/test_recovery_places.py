"""Memory that runs out at every place of a step: cutting, calling, making the result, recovering, the
policy."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo
from microbatch.binding.rules import Layout, per_ubatch, tokens
from microbatch.errors import PolicyError, StepOutOfMemoryError
from microbatch.extend.chain import checked
from microbatch.testing import AdversarialBackend, MemoryModel
from microbatch.testing.given_plugins import GivenBackends
from microbatch_backends.host.backend import CpuBackend
from tests.support.threads import no_thread_left

pytestmark = pytest.mark.counted

SCHEDULES = ["sequential", "parallel", "pingpong", "streamed"]
PLACES = ["cut", "begin", "middle", "end", "result"]
ROWS = np.arange(24.0).reshape(12, 2)


def threads_of(schedule: str) -> AbstractContextManager[None]:
    """Holds to no thread left; the streams of the host end theirs by themselves after a second."""
    return nullcontext() if schedule == "streamed" else no_thread_left()


class Big:
    """What an attempt computes and holds in a local variable."""


class Once:
    """A step of three ubatches in which memory runs out once, in one ubatch at one place."""

    def __init__(self, ubatch: int, place: str) -> None:
        self.ubatch = ubatch
        self.place = place
        self.struck = False
        self.held: list[weakref.ref[Big]] = []
        self.alive_at_retry: int | None = None

    def strike(self, place: str, first_row: float) -> None:
        here = place == self.place and int(first_row) // 8 == self.ubatch
        if here and not self.struck:
            self.struck = True
            raise MemoryError(f"out of memory: {place}")

    def cut(self, whole: Any, piece: Any, ubatch: int) -> Any:
        self.strike("cut", 8.0 * ubatch)
        return whole

    def function(self, x: Any, whole: Any) -> Any:
        mine = int(x[0, 0]) // 8 == self.ubatch
        if mine and self.struck and self.alive_at_retry is None:
            self.alive_at_retry = sum(reference() is not None for reference in self.held)
        self.strike("begin", x[0, 0])
        big = Big()
        if mine:
            self.held.append(weakref.ref(big))
        dbo.dbo_yield("middle")
        self.strike("middle", x[0, 0])
        y = x * 2
        self.strike("end", x[0, 0])
        return y

    def result(self, shape: tuple[int, ...], like: Any) -> Any:
        self.strike("result", 8.0 * self.ubatch)
        return np.empty(shape, like.dtype)


@pytest.mark.case(59)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ubatch", [0, 1, 2])
def test_memory_runs_out_once_in_any_ubatch_at_any_place(ubatch: int, place: str, schedule: str) -> None:
    once = Once(ubatch, place)
    layout = Layout(inputs={"0": tokens(), "1": per_ubatch(once.cut)})
    with (
        threads_of(schedule),
        microbatch.wrap(
            once.function,
            layout=layout,
            schedule=schedule,
            num_ubatches=3,
            policy="fixed",
            thread_pool_size=2,
        ) as wrapped,
    ):
        try:
            result = wrapped(ROWS, 7, out=once.result)
        except MemoryError as error:
            # only what can be done in smaller parts, or with less beside it, is tried again
            assert schedule == "sequential" and place in ("cut", "result")
            assert str(error) == f"out of memory: {place}"
        else:
            np.testing.assert_array_equal(result, ROWS * 2)
            assert once.alive_at_retry == 0 or place in ("cut", "begin", "result")
        assert once.struck
        np.testing.assert_array_equal(wrapped(ROWS, 7), ROWS * 2)


@pytest.mark.case(61, 62)
def test_an_error_that_the_caller_keeps_keeps_no_frame_of_an_attempt() -> None:
    held: list[weakref.ref[Big]] = []

    def hungry(x: Any) -> Any:
        big = Big()
        held.append(weakref.ref(big))
        try:
            raise KeyError("the allocator's own")
        except KeyError as error:
            raise MemoryError(f"no room for {len(x)} rows") from error

    with microbatch.wrap(hungry, num_ubatches=1) as wrapped:
        with pytest.raises(StepOutOfMemoryError) as caught:
            wrapped(np.arange(8))
        kept = caught.value
    gc.collect()
    assert [reference() for reference in held] == [None] * 4  # for 8, 4, 2 and 1 rows
    first = kept.__cause__
    assert isinstance(first, MemoryError)
    assert str(first) == "no room for 1 rows"
    assert isinstance(first.__cause__, KeyError)
    assert (first.__traceback__, first.__cause__.__traceback__) == (None, None)
    assert "no room for 1 rows" in str(kept)


def fails(error: str) -> Any:
    raise MemoryError(error)


class Greedy:
    """A policy that has no memory itself."""

    def propose(self, request: Any) -> Any:
        fails("the policy's table")

    def observe(self, report: Any) -> None:
        """Nothing."""


@pytest.mark.case(64)
def test_each_place_reads_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = []

    def reads(call: Any) -> None:
        with pytest.raises((MemoryError, PolicyError)) as caught:
            call()
        texts.append("; ".join([str(caught.value), *getattr(caught.value, "__notes__", [])]))

    options = {"num_ubatches": 2, "policy": "fixed", "schedule": "sequential"}
    layout = Layout(inputs={"0": tokens(), "1": per_ubatch(lambda *_: fails("no room"))})
    with microbatch.wrap(lambda x, y: x, layout=layout, **options) as wrapped:
        reads(lambda: wrapped(ROWS, 7))
    with microbatch.wrap(lambda x: fails("no room"), **options) as wrapped:
        reads(lambda: wrapped(ROWS))
    with microbatch.wrap(lambda x: x + 1, **options) as wrapped:
        monkeypatch.setattr(CpuBackend, "empty", lambda *_: fails("no room"))
        reads(lambda: wrapped(ROWS))
        monkeypatch.undo()
        wrapped._engine.planner.policy = checked(Greedy(), "greedy")
        reads(lambda: wrapped(ROWS))
    with microbatch.wrap(lambda x: x + 1, **options) as wrapped:
        reads(lambda: wrapped(fails("no room")))
    assert "while its part of the inputs was cut out" in texts[0]
    assert "one row alone does not fit" in texts[1]
    assert "while room was made for a result of shape (12, 2)" in texts[2]
    assert "policy 'greedy'" in texts[3]
    assert texts[4] == "no room"
    assert len(set(texts)) == 5


class Stingy(CpuBackend):
    """A backend that has no memory to give memory back, or to look at an error, either."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def reclaim(self) -> None:
        if self.where == "reclaim":
            raise MemoryError("while giving memory back")

    def classify(self, error: BaseException) -> Any:
        if self.where == "classify":
            raise MemoryError("while looking at the error")
        return super().classify(error)

    def memory(self) -> Any:
        if self.where == "advice" and self.armed:
            raise MemoryError("while reading what is in use")
        return super().memory()

    armed = False


@pytest.mark.case(65)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("where", ["reclaim", "classify", "advice"])
def test_no_memory_to_recover_with_ends_in_an_error(where: str, schedule: str) -> None:
    backend = Stingy(where)
    calls = []

    def hungry(x: Any) -> Any:
        backend.armed = True
        calls.append(len(x))
        if len(calls) > 200:
            pytest.fail("it never ends")
        raise MemoryError("in the function")

    with threads_of(schedule):
        wrapped = microbatch.wrap(
            hungry, backend="cpu", plugins=GivenBackends(backend), schedule=schedule, num_ubatches=3,
            policy="fixed", thread_pool_size=2,
        )  # fmt: skip
        with pytest.raises(MemoryError):
            wrapped(ROWS)
        backend.where = ""
        backend.armed = False
        wrapped._engine.function = lambda x: x * 2
        np.testing.assert_array_equal(wrapped(ROWS), ROWS * 2)
        wrapped.shutdown()
        backend.close()


@contextmanager
def pending_work_counted(device: AdversarialBackend, counts: list[int]) -> Iterator[None]:
    """Note how much was pending on the device whenever memory was given back."""
    real = device.device.memory.empty_cache

    def counting() -> None:
        counts.append(device.pending)
        real()

    device.device.memory.empty_cache = counting  # type: ignore[method-assign]
    yield


@pytest.mark.case(69)
@pytest.mark.parametrize("driver", ["threads", "greenlets"])
@pytest.mark.parametrize("ubatch", [0, 1, 2])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_memory_runs_out_while_siblings_are_parked(ubatch: int, at: int, driver: str) -> None:
    if driver == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    device, failures, counts = AdversarialBackend(model=MemoryModel()), [0], []

    def function(x: Any) -> Any:
        for piece in range(3):
            if dbo.dbo_current_ubatch_id() == ubatch and piece == at and failures[0] < 2:
                failures[0] += 1
                raise MemoryError("device out of memory")
            x = x + 1
            dbo.dbo_yield(f"piece {piece}")
        return x

    with (
        no_thread_left(),
        pending_work_counted(device, counts),
        microbatch.wrap(
            function, backend=device.name, plugins=GivenBackends(device), schedule="pingpong", num_ubatches=3,
            policy="fixed", driver=driver, barrier_timeout=20.0,
        ) as wrapped,
    ):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(wrapped(device.array(ROWS))), ROWS + 3)
        assert wrapped.last_report is not None
        assert wrapped.last_report.oom_sizes == (4, 2)
    assert counts == [0], "memory was given back under work that was still pending"


@pytest.mark.case(70)
def test_no_size_that_failed_is_tried_again_in_the_next_steps() -> None:
    failed: list[int] = []

    def hungry(x: Any) -> Any:
        if len(x) > 100:
            failed.append(len(x))
            raise MemoryError("no room")
        return x * 2

    x = np.arange(800.0)
    with microbatch.wrap(hungry, policy="memory-model", schedule="sequential") as wrapped:
        np.testing.assert_array_equal(wrapped(x), x * 2)
        assert failed[0] == 800
        for _ in range(15):
            smallest = min(failed)
            before = len(failed)
            np.testing.assert_array_equal(wrapped(x), x * 2)
            assert all(size < smallest for size in failed[before:])
        assert wrapped.last_report is not None
        assert not wrapped.last_report.oom_sizes


@pytest.mark.case(68)
def test_check_tells_of_a_function_that_writes_into_its_inputs() -> None:
    def in_place(x: Any) -> Any:
        x += 1
        return x

    report = microbatch.check(in_place, ROWS)
    assert report
    assert report.writes_inputs
    assert "writes into its inputs" in str(report)
    untouched = microbatch.check(lambda x: x + 1, np.where(ROWS > 3, np.nan, ROWS))
    assert not untouched.writes_inputs
    assert "writes into its inputs" not in str(untouched)
