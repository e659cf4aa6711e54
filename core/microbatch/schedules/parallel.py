"""Ubatches side by side on pooled threads, the caller's included; for functions that release the GIL.

Invariant: each ubatch is taken from the queue exactly once (`deque.popleft` is atomic with and without the
GIL); after the first error nobody takes another. Longest first, so that no thread is left with a long part at
the end. Threads that are busy with other steps, or cannot be started, are done without, down to the caller
alone: all bodies are alike and take what is left. Rejected: one fixed share per thread (a slow core holds up
the step), a future per ubatch (43-89 µs each, against 3 µs for a queue that workers drain).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from microbatch.extend.inside import inside
from microbatch.schedules import sequential
from microbatch.schedules.sequential import take
from microbatch.schedules.step import Queue, Step
from microbatch.turns.failure import Failures
from microbatch.turns.workers import Fewer


def run(step: Step) -> None:
    """Run every ubatch of `step` on up to `step.parallelism` threads; raises the first error."""
    threads = step.parallelism if step.queue is not None else min(step.parallelism, len(step.contexts))
    if threads < 2:
        sequential.run(step)
        return
    queue = step.queue or deque(sorted(step.contexts, key=lambda context: -context.slice_info.num_tokens))
    failures = Failures()
    bodies = _bodies(step, queue, failures, threads)

    def side_by_side(_: None) -> Fewer | None:
        return step.workers.run_some(bodies, on_interrupt=lambda error: queue.clear())

    try:
        fewer = inside(step.backend.parallel_limits(threads), side_by_side)
        if fewer is not None:
            step.on_fewer(fewer.bodies, f"on {fewer.bodies} of {threads} threads, as {fewer.reason}")
        failures.raise_first()
    finally:
        failures.records = None


def _bodies(step: Step, queue: Queue, failures: Failures, threads: int) -> list[Callable[[], None]]:
    """One body a thread; the first runs on the caller, whose thread state needs no carrying."""
    backend = step.backend
    state = backend.thread_state()

    def drain() -> None:
        inside(backend.worker_limits(threads), lambda _: _take_all(step, queue, failures))

    def drain_as_caller() -> None:
        with state.apply():
            drain()

    return [drain, *[drain_as_caller] * (threads - 1)]


def _take_all(step: Step, queue: Queue, failures: Failures) -> None:
    """Run ubatches until none is left or one has failed.

    The loop has a function of its own: Python 3.12 and 3.13 do not guard a loop's jump back in a `with`.
    """
    while take(step, queue, failures):
        pass
