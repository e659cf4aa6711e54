"""The queue behind a host stream: every item once and in order, whatever the order of events."""

from __future__ import annotations

import contextlib
from functools import partial

import pytest

from microbatch.turns.runtime import ThreadRuntime
from microbatch_backends.host.queues import WorkQueue
from tests.support.deterministic import DetRuntime, explore, explore_all, fastest_carrier
from tests.support.interrupts import Interrupt, in_thread_of_its_own
from tests.support.threads import no_thread_left

LIMIT = 20.0


@pytest.mark.parametrize("stops_between", [False, True], ids=["idle", "stopped"])
def test_every_item_runs_once_in_the_order_of_its_putter(stops_between: bool) -> None:
    def program(runtime: DetRuntime) -> None:
        queue, ran = WorkQueue("test", runtime, idle=0.5), list[tuple[int, int]]()
        inside = [0]

        def item(putter: int, number: int) -> None:
            inside[0] += 1
            assert inside[0] == 1, "two threads serve the queue"
            runtime.point("inside")
            inside[0] -= 1
            ran.append((putter, number))

        def put(putter: int) -> None:
            for number in range(2):
                queue.run(partial(item, putter, number))
                if stops_between and putter == 1:
                    assert queue.stop(None)
                runtime.point("between")

        putters = [runtime.spawn(partial(put, putter), name=f"putter {putter}") for putter in (1, 2)]
        for putter in putters:
            putter.join()
        queue.mark().wait()  # for ever, were an item left behind: then the runtime says who waits where
        assert queue.stop(None) and queue.failure is None
        for putter in (1, 2):
            assert [number for who, number in ran if who == putter] == [0, 1]

    explore_all(program, preemptions=2, limit=1500, carrier=fastest_carrier()).check()
    explore(program, range(300), carrier=fastest_carrier(), spurious=3, eager_timeouts=True).check()


def test_marks_of_two_queues_order_their_items_in_every_order_of_events() -> None:
    def program(runtime: DetRuntime) -> None:
        first, second = (WorkQueue(name, runtime, idle=0.5) for name in ("first", "second"))
        seen: list[int] = []
        first.run(partial(seen.append, 1))
        second.after(first.mark())
        second.run(partial(seen.append, 2))
        first.after(second.mark())
        first.run(partial(seen.append, 3))
        assert first.mark().reached() and seen == [1, 2, 3]
        assert first.stop(None) and second.stop(None)

    explore_all(program, preemptions=2, limit=1500, carrier=fastest_carrier()).check()
    explore(program, range(200), carrier=fastest_carrier(), spurious=3, eager_timeouts=True).check()


class NoThreads(ThreadRuntime):
    """Cannot start a thread while `refuses`."""

    refuses = True

    def spawn(self, function, *, name):  # type: ignore[no-untyped-def]
        if self.refuses:
            raise RuntimeError("can't start new thread")
        return super().spawn(function, name=name)


def test_an_item_for_which_no_thread_can_be_started_is_an_error_and_never_runs() -> None:
    runtime, ran = NoThreads(), list[int]()
    queue = WorkQueue("test", runtime)
    with pytest.raises(RuntimeError, match="can't start"):
        queue.run(partial(ran.append, 1))
    runtime.refuses = False
    queue.run(partial(ran.append, 2))
    assert queue.mark().wait(LIMIT) and queue.stop(LIMIT) and ran == [2]


@in_thread_of_its_own
def test_an_interrupt_at_every_bytecode_leaves_a_queue_that_goes_on() -> None:
    """Whatever was put before, and whatever is put after: it runs, once."""

    def use(queue: WorkQueue, ran: list[int]) -> None:
        queue.run(partial(ran.append, 1))
        queue.mark().wait(LIMIT)
        queue.run(partial(ran.append, 2))

    def total() -> int:
        queue = WorkQueue("test", ThreadRuntime())
        with Interrupt(0) as counting:
            use(queue, [])
        assert queue.stop(LIMIT)
        return counting.seen

    with no_thread_left():
        bytecodes = max(total() for _ in range(5))
        assert bytecodes > 200
        for at in range(1, bytecodes + 1):
            queue, ran = WorkQueue("test", ThreadRuntime()), list[int]()
            with contextlib.suppress(KeyboardInterrupt), Interrupt(at):
                use(queue, ran)
            queue.run(partial(ran.append, 3))
            assert queue.mark().wait(LIMIT), f"bytecode {at}: the queue hangs"
            assert ran in ([1, 2, 3], [1, 3], [3], [2, 3]), f"bytecode {at}: {ran}"
            assert queue.stop(LIMIT), f"bytecode {at}: the thread does not end"
