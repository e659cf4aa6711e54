"""100,000 real steps: as many threads and as much memory at the end as at the start."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import pytest

from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.taking_turns import Fault, TurnsProgram

FAULTS = [None, Fault(1, 1), Fault(0, "load"), Fault(2, "store", KeyboardInterrupt)]


def steps(count: int, pool: WorkerPool) -> None:
    for number in range(count):
        TurnsProgram((2, 1, 2), FAULTS[number % len(FAULTS)], timeout=60.0).run(ThreadRuntime(), pool)


def grown(count: int) -> tuple[int, int]:
    """Bytes and threads that `count` steps leave behind, after a warm-up."""
    pool = WorkerPool(ThreadRuntime())
    steps(40, pool)
    gc.collect()
    threads = threading.active_count()
    tracemalloc.start()
    try:
        steps(40, pool)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        steps(count, pool)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, threading.active_count() - threads
    finally:
        tracemalloc.stop()
        pool.shutdown()


def test_five_hundred_steps_with_and_without_faults_leave_nothing() -> None:
    memory, threads = grown(500)
    assert memory <= 16 * 1024
    assert threads == 0


@pytest.mark.soak
def test_a_hundred_thousand_steps_leave_nothing() -> None:
    memory, threads = grown(100_000)
    assert memory <= 64 * 1024
    assert threads == 0
