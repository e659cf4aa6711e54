"""Ctrl-C anywhere in a step leaves the process and the thread as they were, and the next step runs.

What a step sets and puts back: the threads of BLAS, random numbers, the current ubatch, the cores that the
caller may run on. What it takes and gives back: the policy, workers. What it learns: never by halves.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo
from microbatch.extend.records import Proposal
from microbatch.schedules import sequential
from microbatch.turns.context import current_ubatch
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.interrupts import OUR_PACKAGES, Interrupt, in_thread_of_its_own, strikes
from tests.support.surroundings import surroundings
from tests.support.taking_turns import make_step

ROWS = np.linspace(0.0, 1.0, 96).reshape(12, 8)


def layers(x: Any) -> Any:
    half = np.sqrt(x * x + 1.0)
    dbo.dbo_yield()
    return half * 2.0


KINDS: dict[str, dict[str, Any]] = {
    "sequential": {"schedule": "sequential"},
    "parallel": {"schedule": "parallel", "thread_pool_size": 3},
    "pingpong": {"schedule": "pingpong", "thread_pool_size": 3},
    "limited memory": {"schedule": "sequential", "policy": "auto", "memory_limit": 1 << 20},
    "shown each time": {"schedule": "parallel", "verify": "always"},
}
if find_spec("greenlet") is not None:
    KINDS["greenlets"] = {"schedule": "pingpong", "driver": "greenlets"}


@pytest.mark.pitfall(26)
@pytest.mark.case(31)
@pytest.mark.parametrize("kind", KINDS)
@in_thread_of_its_own
def test_an_interrupt_anywhere_in_a_step_changes_nothing_for_good(kind: str) -> None:
    options: dict[str, Any] = {"num_ubatches": 3, **KINDS[kind]}
    with microbatch.wrap(layers, **options) as wrapped:
        expected = layers(ROWS)
        for _ in range(3):
            np.testing.assert_array_equal(wrapped(ROWS), expected)
        before = surroundings()
        for at in strikes(lambda: wrapped(ROWS), 90):
            with contextlib.suppress(KeyboardInterrupt), Interrupt(at, OUR_PACKAGES, as_signals=True):
                wrapped(ROWS)
            assert surroundings() == before, f"bytecode {at}"
        np.testing.assert_array_equal(wrapped(ROWS), expected)
        assert wrapped._engine._runner.workers.num_threads <= 4


@pytest.mark.case(31)
@in_thread_of_its_own
def test_an_interrupt_at_any_bytecode_leaves_no_ubatch_current() -> None:
    """Although the error, and with it the frames, is kept."""
    pool, kept = WorkerPool(ThreadRuntime()), list[BaseException]()

    def compute(context: Any, ubatch: int) -> None:
        assert current_ubatch() is context

    for at in range(1, 3000):
        interrupt = Interrupt(at, ("schedules/sequential.py", "turns/context.py"), as_signals=True)
        try:
            with interrupt:
                sequential.run(make_step(ThreadRuntime(), pool, 2, compute))
        except KeyboardInterrupt as error:
            kept[:] = [error]
        assert current_ubatch() is None and not dbo.dbo_enabled(), f"bytecode {at}"
        if interrupt.seen < at:
            break
    assert at > 100


@in_thread_of_its_own
def test_an_interrupt_while_the_function_is_tried_puts_back_what_its_calls_have_changed() -> None:
    """Its counters, its buffers, and the random numbers that it drew."""
    counter, buffer, kept = {"calls": 0}, np.zeros(4), list[BaseException]()

    def function(x: Any) -> Any:
        counter["calls"] += 1
        buffer[:] += 1.0
        random.random()
        if counter["calls"] == 2:
            raise KeyboardInterrupt
        return x * 2.0

    state = random.getstate()
    with microbatch.wrap(function, policy="fixed") as wrapped:
        try:
            wrapped(ROWS)
        except KeyboardInterrupt as error:
            kept[:] = [error]
    assert len(kept) == 1
    assert counter == {"calls": 0} and not buffer.any()
    assert random.getstate() == state


class Counting:
    """A policy that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def propose(self, request: Any) -> Proposal:
        self.asked += 1
        return Proposal(count=2)

    def observe(self, report: Any) -> None: ...


@in_thread_of_its_own
def test_an_interrupt_while_a_policy_is_asked_does_not_keep_it_from_being_asked_again() -> None:
    policy = Counting()
    with microbatch.wrap(layers, schedule="sequential", num_ubatches=2) as wrapped:
        wrapped._engine.planner.policy = policy
        kept: list[BaseException] = []

        def asks() -> bool:
            before = policy.asked
            wrapped(ROWS)
            return policy.asked == before + 1

        assert asks()
        for at in range(1, 2000, 3):
            interrupt = Interrupt(at, ("sizing/planning.py", "turns/at_most_one.py"))
            try:
                with interrupt:
                    wrapped(ROWS)
            except KeyboardInterrupt as error:
                kept[:] = [error]
            assert asks(), f"bytecode {at}"
            if interrupt.seen < at:
                break
        assert at > 300


def interrupted_step(wrapped: Callable[[Any], Any], rows: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        wrapped(rows)


@pytest.mark.counted
def test_a_first_step_that_was_interrupted_teaches_nothing_of_what_its_kind_needs() -> None:
    """The next one begins with small parts again, as if it were the first."""
    sizes, strike = list[int](), [4]

    def function(x: Any) -> Any:
        sizes.append(len(x))
        strike[0] -= 1
        if not strike[0]:
            raise KeyboardInterrupt
        return x * 2.0

    rows = np.ones((4096, 64))
    with microbatch.wrap(function, schedule="sequential", memory_limit=8 << 20) as wrapped:
        interrupted_step(wrapped, rows)
        sizes.clear()
        np.testing.assert_array_equal(wrapped(rows), rows * 2.0)
        assert wrapped.last_report is not None and wrapped.last_report.calibration
        assert sizes[:2] == [1, 1]
