"""Ctrl-C anywhere in a step in the caller's thread: outside of a step nothing of it is current."""

from __future__ import annotations

import contextlib

import pytest

from microbatch.schedules import sequential
from microbatch.turns.context import UBatchContext, current_ubatch
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.interrupts import Interrupt, in_thread_of_its_own
from tests.support.taking_turns import make_step


@pytest.mark.case(31, 45)
@in_thread_of_its_own
def test_no_ubatch_is_current_after_an_interrupt(pool: WorkerPool) -> None:
    def compute(context: UBatchContext, ubatch: int) -> None:
        assert current_ubatch() is context

    for at in range(1, 5000):
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at, as_signals=True) as interrupt:
            sequential.run(make_step(ThreadRuntime(), pool, 2, compute))
        assert current_ubatch() is None, f"bytecode {at}"
        if interrupt.seen < at:
            break
    assert at > 100
