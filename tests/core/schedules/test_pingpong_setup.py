"""Errors before the start line on both drivers, closing inside a step, the barrier of a wrapper, and no
state of modules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import microbatch
import microbatch.wrapper
from microbatch import dbo
from microbatch.errors import BarrierBrokenError, ClosedError, WaitTimeoutError
from microbatch.guest import controls
from microbatch.schedules import pingpong
from microbatch.turns.barrier import UBatchBarrier
from microbatch.turns.context import UBatchContext, current_ubatch
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.deterministic import DetRuntime, explore, fastest_carrier
from tests.support.taking_turns import Fault, HostState, NoDevice, TurnsProgram, make_step

RUNTIME = ThreadRuntime()


class Refusing(NoDevice):
    """A device that fails when asked for something, before any ubatch is there."""

    asynchronous = True

    def __init__(self, what: str, error: BaseException) -> None:
        super().__init__()
        self._what, self._error = what, error

    def __getattr__(self, name: str) -> Any:
        if name == self._what:
            raise self._error
        if name in ("stream", "event", "current_stream"):
            return lambda *_: Silent()
        raise AttributeError(name)

    def thread_state(self) -> HostState:
        if self._what == "thread_state":
            raise self._error
        return HostState()


class Silent:
    """A stream or an event that does nothing."""

    def record(self, stream: Any) -> None: ...

    def wait(self, event: Any) -> None: ...


@pytest.mark.case(20)
@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("what", ["stream", "event", "current_stream", "thread_state"])
def test_an_error_before_any_ubatch_was_set_up(
    what: str, kind: type[BaseException], driver: str, pool: WorkerPool
) -> None:
    error, began = kind("no device"), []
    step = make_step(
        RUNTIME,
        pool,
        3,
        lambda c, x: began.append(x),
        driver=driver,
        backend=Refusing(what, error),
        barrier_timeout=20.0,
    )
    with pytest.raises(kind) as caught:
        pingpong.run(step)
    assert caught.value is error
    assert began == []
    assert not dbo.dbo_enabled()
    assert current_ubatch() is None
    TurnsProgram((1, 1, 1), driver=driver, timeout=20.0).run(RUNTIME, pool)


class FailingState:
    """Raises when it is entered for the `at`-th time: at a set-up, or where a greenlet parks its state."""

    only_context_variables = False

    def __init__(self, at: int, error: BaseException) -> None:
        self.at, self.error = at, error
        self.entered = self.left = 0

    @contextmanager
    def apply(self) -> Iterator[None]:
        self.entered += 1
        if self.entered == self.at:
            raise self.error
        try:
            yield
        finally:
            self.left += 1


@pytest.mark.case(20, 21)
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_in_any_set_up_or_parking_of_a_thread_state(
    kind: type[BaseException], driver: str, pool: WorkerPool
) -> None:
    """Every time that a state is entered, one after another."""
    begun: list[int] = []
    unwound: list[int] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        begun.append(ubatch)
        try:
            for _ in range(2):
                dbo.dbo_yield()
        finally:
            unwound.append(ubatch)

    def run(state: Any) -> None:
        pingpong.run(
            make_step(RUNTIME, pool, 3, compute, driver=driver, backend=NoDevice(state), barrier_timeout=20.0)
        )

    sound = FailingState(0, kind())
    run(sound)
    assert sound.entered == sound.left == (2 if driver == "threads" else 12)
    for at in range(1, sound.entered + 1):
        begun.clear()
        unwound.clear()
        state = FailingState(at, kind("cannot be set"))
        with pytest.raises(kind) as caught:
            run(state)
        assert caught.value is state.error
        assert sorted(begun) == sorted(unwound)
        assert state.left == state.entered - 1, "a state was not put back"
    TurnsProgram((1, 1, 1), driver=driver, timeout=20.0).run(RUNTIME, pool)


@pytest.mark.case(24, 25)
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("left", [False, True], ids=["with a sibling", "when alone"])
def test_any_error_of_a_receive_hook_passes_the_turn_on(
    left: bool, kind: type[BaseException], driver: str, pool: WorkerPool
) -> None:
    unwound: list[int] = []

    def broken() -> None:
        raise kind("receive failed")

    def compute(context: UBatchContext, ubatch: int) -> None:
        try:
            for _ in range(2 * ubatch):
                dbo.dbo_yield()
            if ubatch == (1 if left else 0):
                dbo.dbo_register_recv_hook(broken)
        finally:
            unwound.append(ubatch)

    with pytest.raises(kind, match="receive failed") as caught:
        pingpong.run(make_step(RUNTIME, pool, 2, compute, driver=driver, barrier_timeout=20.0))
    assert any("in ubatch 1 of 2" in note for note in caught.value.__notes__)
    assert sorted(unwound) == [0, 1]


@pytest.mark.case(32)
def test_an_interrupt_while_a_ubatch_is_stuck_ends_after_the_limit() -> None:
    """The caller has done its part and waits in the pool; the sibling never comes to a yield."""

    def program(runtime: DetRuntime) -> None:
        stuck, armed, honest = runtime.gate(), [False], runtime.gate

        class Struck:
            def __init__(self) -> None:
                self._gate = honest()

            def open(self) -> None:
                self._gate.open()

            def wait(self, timeout: float | None = None) -> bool:
                if armed[0] and runtime.current() == 0:
                    armed[0] = False
                    raise KeyboardInterrupt
                return self._gate.wait(timeout)

        runtime.gate = Struck  # type: ignore[method-assign,assignment]
        pool = WorkerPool(runtime)

        def compute(context: UBatchContext, ubatch: int) -> None:
            if ubatch == 1:
                armed[0] = True
                stuck.wait()

        with pytest.raises(KeyboardInterrupt) as caught:
            pingpong.run(make_step(runtime, pool, 2, compute, barrier_timeout=5.0))
        assert any("is no longer waited for" in note for note in caught.value.__notes__)
        stuck.open()
        pool.shutdown()

    explore(program, range(30), carrier=fastest_carrier()).check()


def test_closing_the_workers_inside_a_step_names_who_is_parked_and_ends() -> None:
    """The siblings of a ubatch that waits for them cannot end before it goes on: the limit of `shutdown`
    passes."""

    def program(runtime: DetRuntime) -> None:
        pool = WorkerPool(runtime)

        def compute(context: UBatchContext, ubatch: int) -> None:
            dbo.dbo_yield()
            if ubatch == 1:
                pool.shutdown(3.0)

        with pytest.raises(WaitTimeoutError, match="did not end within 3.0 s of shutdown") as caught:
            pingpong.run(make_step(runtime, pool, 3, compute))
        assert any("in ubatch 1 of 3" in note for note in caught.value.__notes__)
        with pytest.raises(ClosedError):
            pool.run([lambda: None] * 2)
        pool.shutdown()

    explore(program, range(50), carrier=fastest_carrier()).check()


def test_the_limit_names_the_last_label_of_each_ubatch() -> None:
    def program(runtime: DetRuntime) -> None:
        pool, stuck = WorkerPool(runtime), runtime.gate()

        def compute(context: UBatchContext, ubatch: int) -> None:
            dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
            dbo.dbo_yield_and_switch_from_comm_to_compute("" if ubatch else "combine")
            if ubatch == 0:
                stuck.wait(50.0)

        with pytest.raises(WaitTimeoutError) as caught:
            pingpong.run(make_step(runtime, pool, 3, compute, barrier_timeout=30.0))
        table = str(caught.value).split("(", 1)[1]
        assert "ubatch 0 has the turn since yield 2 (combine)" in table
        assert "ubatch 1 waits at yield 2;" in table
        assert "ubatch 2 waits at yield 2)" in table
        TurnsProgram((2, 2, 2)).run(runtime, pool)
        pool.shutdown()

    explore(program, range(30), carrier=fastest_carrier()).check()


def test_barrier_of_a_wrapper_is_one_for_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the schedule turns while it is made."""

    def program(runtime: DetRuntime) -> None:
        class Slow(UBatchBarrier):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                runtime.point("the barrier is being made")
                super().__init__(*arguments, **options)

        monkeypatch.setattr(controls, "UBatchBarrier", Slow)
        wrapped = microbatch.UBatchWrapper(abs, microbatch.UBatchConfig(num_ubatches=3), runtime=runtime)
        places: list[int] = []
        tasks = [
            runtime.spawn(lambda: places.append(wrapped.barrier_sync(5.0)), name=f"party {i}")
            for i in range(3)
        ]
        for task in tasks:
            task.join()
        assert sorted(places) == [0, 1, 2]
        wrapped.shutdown()

    explore(program, range(60), carrier=fastest_carrier()).check()


def test_barrier_of_a_wrapper_has_its_limit_and_tells_of_it() -> None:
    def program(runtime: DetRuntime) -> None:
        config = microbatch.UBatchConfig(num_ubatches=2, barrier_timeout=7.0)
        wrapped = microbatch.UBatchWrapper(abs, config, runtime=runtime)
        with pytest.raises(
            WaitTimeoutError, match=r"waited 7\.0 s at the barrier, where 1 of 2 parties arrived"
        ):
            wrapped.barrier_sync()
        assert runtime.monotonic() == 7.0
        with pytest.raises(BarrierBrokenError):
            wrapped.barrier_sync()
        wrapped.shutdown()

    explore(program, range(5), carrier=fastest_carrier()).check()


def module_state() -> dict[str, Any]:
    """What stands in the modules of core: the identity of every value, and what containers hold."""
    found: dict[str, Any] = {}
    for name, module in sorted(sys.modules.items()):
        parts = name.split(".")
        if parts[0] != "microbatch" or parts[1:2] == ["testing"]:
            continue
        for key, value in vars(module).items():
            if not key.startswith("__"):
                content = repr(value) if isinstance(value, (dict, list, set)) else ""
                found[f"{name}.{key}"] = (id(value), content)
    return found


def test_steps_change_nothing_in_any_module(driver: str, pool: WorkerPool) -> None:
    def steps() -> None:
        for fault in (None, Fault(1, 1), Fault(0, "load", KeyboardInterrupt)):
            TurnsProgram((2, 1), fault, driver=driver, timeout=20.0).run(RUNTIME, pool)
        with microbatch.wrap(
            lambda x: x, schedule="pingpong", driver=driver, policy="fixed", num_ubatches=2
        ) as wrapped:
            import numpy as np

            wrapped(np.arange(4.0))

    steps()  # modules are loaded on first use
    before = module_state()
    during: list[dict[str, Any]] = []

    def compute(context: UBatchContext, ubatch: int) -> None:
        dbo.dbo_yield()
        during.append(module_state())

    pingpong.run(make_step(RUNTIME, pool, 2, compute, driver=driver))
    steps()
    assert during == [before] * 2
    assert module_state() == before
    assert len(before) > 300
