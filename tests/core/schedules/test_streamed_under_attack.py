"""Streamed steps that are interrupted, nested, or hang: nobody waits for ever, and the next step is right."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from msgspec.structs import force_setattr

from microbatch import UBatchConfig, wrap
from microbatch.errors import WaitTimeoutError
from microbatch.extend.device import device_of
from microbatch.schedules import streamed
from microbatch.schedules.step import Step
from microbatch.step.ubatches import make_ubatch_contexts
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from microbatch_backends.host.backend import CpuBackend
from tests.support.interrupts import Interrupt, in_thread_of_its_own
from tests.support.threads import no_thread_left

LIMIT = 20.0
RUNTIME = ThreadRuntime()


class Rows:
    """A step of some ubatches that each carry their number through the three stages."""

    def __init__(self, backend: CpuBackend, ubatches: int = 2, limit: float = LIMIT) -> None:
        self.stored: list[int] = []
        self.step = Step(
            contexts=make_ubatch_contexts(ubatches, ubatches, ubatches),
            load=lambda context: context.ubatch_id,
            compute=self.compute,
            store=lambda context, value: self.stored.append(value),
            device=device_of(backend),
            config=UBatchConfig(barrier_timeout=limit),
            runtime=RUNTIME,
            workers=WorkerPool(RUNTIME),
        )

    def compute(self, context: Any, value: int) -> int:
        return value

    def run(self) -> list[int]:
        streamed.run(self.step)
        return self.stored


@pytest.mark.case(31)
@in_thread_of_its_own
def test_an_interrupt_at_every_bytecode_of_the_caller() -> None:
    """The error reaches the caller at once, the next step on the same backend is right, no thread stays."""
    backend = CpuBackend()

    def bytecodes() -> int:
        with Interrupt(0) as counting:
            Rows(backend).run()
        return counting.seen

    with no_thread_left():
        total = max(bytecodes() for _ in range(5))
        struck = 0
        for at in range(1, total + 1, 2):
            try:
                with Interrupt(at):
                    Rows(backend).run()
            except KeyboardInterrupt as error:
                struck += 1
                late = [e for e in getattr(error, "ubatch_errors", ()) if isinstance(e, WaitTimeoutError)]
                assert not late, f"bytecode {at}: the step waited for a stage that was lost"
            if at % 10 == 1:
                assert Rows(backend, 4).run() == [0, 1, 2, 3], f"bytecode {at}: the next step is wrong"
        assert struck > 300
        backend.close(LIMIT)


def test_a_stage_that_never_returns_ends_the_waiting_of_a_failed_step_and_holds_up_no_later_one() -> None:
    """The streams that hang belong to the step that hangs; the next step has others."""
    backend, hang, hangs = CpuBackend(), threading.Event(), threading.Event()
    rows = Rows(backend, 4, limit=0.05)

    def compute(context: Any, value: int) -> int:
        if value == 1:
            hangs.set()
            hang.wait()
        return value

    def store(context: Any, value: int) -> None:
        hangs.wait(LIMIT)
        raise KeyError("store")

    force_setattr(rows.step, "compute", compute)
    force_setattr(rows.step, "store", store)
    with no_thread_left():
        try:
            with pytest.raises(KeyError, match="store") as caught:
                rows.run()
            assert any("no longer waited for" in note for note in caught.value.__notes__)
            assert Rows(backend, 4).run() == [0, 1, 2, 3]
        finally:
            hang.set()
        backend.close(LIMIT)


def in_the_caller(work: Callable[[], np.ndarray]) -> np.ndarray:
    return work()


def in_a_pool_of_the_users(work: Callable[[], np.ndarray]) -> np.ndarray:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@pytest.mark.parametrize("how", [in_the_caller, in_a_pool_of_the_users])
@pytest.mark.parametrize("middle", ["sequential", "parallel", "pingpong", "streamed"])
@pytest.mark.case(39)
def test_streamed_inside_any_schedule_inside_streamed(
    middle: str, how: Callable[[Callable[[], np.ndarray]], np.ndarray]
) -> None:
    """Each streamed step has streams of its own, so none waits for work behind the stage it is called in."""
    x = np.arange(24.0).reshape(12, 2)
    answer: list[Any] = []
    with contextlib.ExitStack() as stack:

        def wrapped(function: Any, schedule: str) -> Any:
            return stack.enter_context(wrap(function, num_ubatches=3, schedule=schedule, verify="never"))

        inner = wrapped(lambda part: part + 1, "streamed")
        between = wrapped(lambda part: how(lambda: inner(part)) * 2, middle)
        outer = wrapped(lambda part: how(lambda: between(part)) - 1, "streamed")
        thread = threading.Thread(target=lambda: answer.append(outer(x)), daemon=True)
        thread.start()
        thread.join(LIMIT)
        assert not thread.is_alive(), "the steps wait for each other"
    assert np.array_equal(answer[0], (x + 1) * 2 - 1)
