"""A step that takes turns, and everything that must hold for it; the program of the hand-off's tests.

Give the number of yields of each ubatch and, if you like, a fault. Called with a runtime it runs one step of
the `pingpong` schedule there, compares the order of work with a model (a queue, nothing else), checks that
the very error reached the caller and that every ubatch was unwound, and then runs a second step on the same
workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, cast

from microbatch import dbo
from microbatch.cutting.slices import UBatchSlice
from microbatch.extend.device import device_of
from microbatch.options.fields import UBatchConfig
from microbatch.schedules import pingpong
from microbatch.schedules.step import Step
from microbatch.turns.context import PLACE, UBatchContext, enter
from microbatch.turns.runtime import Runtime
from microbatch.turns.state import UBatchState
from microbatch.turns.workers import WorkerPool

__all__ = [
    "Fault",
    "HostState",
    "NoDevice",
    "TurnsProgram",
    "contexts",
    "entered",
    "make_step",
    "order_of_work",
]

Place = int | str


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a ubatch raises."""

    ubatch: int
    """Which one."""
    place: Place
    """`setup`, `load` or `store`, or the number of the piece of work: piece 0 is before the first yield."""
    error: type[BaseException] = ValueError
    """What it raises."""


@contextmanager
def entered(context: UBatchContext) -> Iterator[UBatchContext]:
    """`enter` and `leave` around a block."""
    former = PLACE.get()
    enter(context)
    try:
        yield context
    finally:
        PLACE.set(former)


class HostState:
    """Thread state of a device that has none; raises in the `setup` of a chosen thread, counted from 0."""

    def __init__(self, error: BaseException | None = None, at: int = 0) -> None:
        self.only_context_variables = error is None
        self._error = error
        self._at = at
        self._entered = 0

    def apply(self) -> AbstractContextManager[None]:
        """Nothing to carry."""
        return nullcontext() if self._error is None else self._failing()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        self._entered += 1
        if self._entered > self._at and self._error is not None:
            raise self._error
        yield


class NoDevice:
    """The least backend: work is done when the call returns, nothing is kept per thread."""

    name = "none"
    asynchronous = False

    def __init__(self, state: HostState | None = None) -> None:
        self._state = state or HostState()

    def thread_state(self) -> HostState:
        """The state it was built with."""
        return self._state


def contexts(count: int, runtime: Runtime | None = None) -> list[UBatchContext]:
    """`count` ubatches of one token."""
    return [
        UBatchContext(UBatchSlice.from_range(i, i + 1, i, i + 1), i, count, runtime) for i in range(count)
    ]


def make_step(runtime: Runtime, workers: WorkerPool, count: int, compute: Any, **options: Any) -> Step:
    """A step of `count` ubatches; `load`, `store`, `backend`, `ambient` may be given, the other options are
    the config's, or give it as `config`.
    """
    load = options.pop("load", lambda context: context.ubatch_id)
    store = options.pop("store", lambda context, outputs: None)
    backend = options.pop("backend", None) or NoDevice()
    ambient = options.pop("ambient", None)
    return Step(
        contexts=contexts(count, runtime),
        load=load,
        compute=compute,
        store=store,
        ambient=ambient,
        device=device_of(cast("Any", backend)),
        config=options.pop("config", None) or UBatchConfig(schedule="pingpong", **options),
        runtime=runtime,
        workers=workers,
    )


def order_of_work(yields: Sequence[int]) -> list[tuple[int, int]]:
    """The (ubatch, piece) order of ubatches that pass the turn after each piece but the last."""
    order = []
    queue = deque((ubatch, 0) for ubatch in range(len(yields)))
    while queue:
        ubatch, piece = queue.popleft()
        order.append((ubatch, piece))
        if piece < yields[ubatch]:
            queue.append((ubatch, piece + 1))
    return order


class TurnsProgram:
    """One step and its promises; use a new one for every run."""

    def __init__(
        self,
        yields: Sequence[int],
        fault: Fault | None = None,
        *,
        driver: str = "threads",
        timeout: float | None = None,
        schedule: Any = pingpong.run,
    ) -> None:
        self.yields = tuple(yields)
        self.fault = fault
        self.error = None if fault is None else fault.error("injected")
        self.driver = driver
        self.timeout = timeout
        self.schedule = schedule
        self.work_done: list[tuple[int, int]] = []
        self.entered: list[int] = []
        self.unwound: list[int] = []
        self.stored: list[int] = []
        self.copied: list[Context] = []
        self._busy = False
        self._runtime: Runtime | None = None

    def __call__(self, runtime: Runtime) -> None:
        """Run the step on workers of its own, which are gone afterwards."""
        pool = WorkerPool(runtime)
        try:
            self.run(runtime, pool)
        finally:
            pool.shutdown()

    def run(self, runtime: Runtime, pool: WorkerPool) -> None:
        """Run the step, then one without a fault; raises AssertionError where a promise was broken."""
        self._runtime = runtime
        step = self._step(runtime, pool)
        caught: BaseException | None = None
        try:
            self.schedule(step)
        except BaseException as error:
            if self.error is None or type(error) is not type(self.error):
                raise
            caught = error
        self._check(step, caught)
        if self.fault is not None:
            TurnsProgram(self.yields, driver=self.driver, timeout=self.timeout, schedule=self.schedule).run(
                runtime, pool
            )

    def _step(self, runtime: Runtime, pool: WorkerPool) -> Step:
        at_setup = self.fault is not None and self.fault.place == "setup"
        state = (
            HostState(self.error, self.fault.ubatch) if at_setup and self.fault is not None else HostState()
        )
        return make_step(
            runtime, pool, len(self.yields), self._compute, load=self._load, store=self._store,
            backend=NoDevice(state), driver=self.driver, barrier_timeout=self.timeout,
        )  # fmt: skip

    def _load(self, context: UBatchContext) -> int:
        context.advance(UBatchState.PREPARING)
        self._strike(context.ubatch_id, "load")
        return context.ubatch_id

    def _compute(self, context: UBatchContext, ubatch: int) -> int:
        context.advance(UBatchState.EXECUTING)
        assert dbo.dbo_enabled() == (len(self.yields) > 1), (
            "a ubatch alone has no seat, each of several has one"
        )
        self.copied.append(copy_context())
        self.entered.append(ubatch)
        try:
            for piece in range(self.yields[ubatch]):
                self._work(ubatch, piece)
                dbo.dbo_yield(f"layer {piece}")
            self._work(ubatch, self.yields[ubatch])
        finally:
            self.unwound.append(ubatch)
        return ubatch

    def _store(self, context: UBatchContext, ubatch: int) -> None:
        self._strike(ubatch, "store")
        self.stored.append(ubatch)
        context.advance(UBatchState.COMPLETED)

    def _work(self, ubatch: int, piece: int) -> None:
        assert self._runtime is not None
        assert not self._busy, "two ubatches had the turn"
        self._busy = True
        self._runtime.point("work")
        self._busy = False
        self._strike(ubatch, piece)
        self.work_done.append((ubatch, piece))

    def _strike(self, ubatch: int, place: Place) -> None:
        if (
            self.error is not None
            and self.fault is not None
            and (ubatch, place) == (self.fault.ubatch, self.fault.place)
        ):
            raise self.error

    def _check(self, step: Step, caught: BaseException | None) -> None:
        expected = order_of_work(self.yields)
        assert not any(copied.run(dbo.dbo_enabled) for copied in self.copied), "a seat outlived its step"
        assert caught is self.error, f"the caller got {caught!r}, not {self.error!r}"
        assert sorted(self.entered) == sorted(self.unwound), "a ubatch was not unwound"
        if caught is None:
            assert self.work_done == expected, f"worked in the order {self.work_done}"
            assert sorted(self.stored) == list(range(len(self.yields))), f"stored {self.stored}"
            assert all(context.state is UBatchState.COMPLETED for context in step.contexts)
            return
        assert self.work_done == expected[: len(self.work_done)], "the failed step did more after its fault"
        if self.fault is not None and self.fault.place == "setup":
            assert not self.work_done, "somebody began before all were set up"
        assert len(set(self.stored)) == len(self.stored)
