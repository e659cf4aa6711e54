"""A latch opens once and for everybody; an interrupt of one waiter, at any bytecode, harms no other."""

from __future__ import annotations

import contextlib
import threading
from functools import partial

from microbatch.turns.latch import Latch
from microbatch.turns.runtime import ThreadRuntime
from tests.support.deterministic import DetRuntime, explore, explore_all, fastest_carrier
from tests.support.interrupts import Interrupt, in_thread_of_its_own

RUNTIME = ThreadRuntime()


def test_everybody_gets_through_in_every_order() -> None:
    def program(runtime: DetRuntime) -> None:
        latch, through = Latch(runtime), list[int]()

        def pass_through(number: int) -> None:
            assert latch.wait()
            through.append(number)

        tasks = [runtime.spawn(partial(pass_through, number), name=f"waiter {number}") for number in (1, 2)]
        openers = [runtime.spawn(latch.open, name=f"opener {number}") for number in (1, 2)]
        for task in [*tasks, *openers]:
            task.join()
        assert sorted(through) == [1, 2] and latch.wait(0)

    explore_all(program, preemptions=2, limit=1500, carrier=fastest_carrier()).check()
    explore(program, range(200), carrier=fastest_carrier(), spurious=3).check()


def test_a_limit_passes_while_it_is_closed() -> None:
    latch = Latch(RUNTIME)
    assert not latch.wait(0) and not latch.opened
    latch.open()
    assert latch.wait(0) and latch.wait() and latch.opened


@in_thread_of_its_own
def test_an_interrupt_at_every_bytecode_of_a_wait_harms_no_other_waiter() -> None:
    with Interrupt(0) as counting:
        Latch(RUNTIME).wait(0.0)
    assert counting.seen > 20
    for at in range(1, counting.seen + 1):
        latch, through = Latch(RUNTIME), list[bool]()
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at):
            latch.wait(0.0)
        other = threading.Thread(target=lambda latch=latch, seen=through: seen.append(latch.wait(20)))
        other.start()
        latch.open()
        other.join(20)
        assert through == [True], f"bytecode {at}"


def test_waking_up_for_nothing_does_not_make_a_limit_longer() -> None:
    """The virtual clock moves only when a limit passes, so waits that began anew would take longer."""

    def program(runtime: DetRuntime) -> None:
        latch, other = Latch(runtime), Latch(runtime)
        task = runtime.spawn(lambda: other.wait(1.0), name="clock")  # somebody whose limit passes in between
        assert not latch.wait(2.0) and runtime.monotonic() == 2.0
        task.join()

    explore(program, range(100), carrier=fastest_carrier(), spurious=3).check()
