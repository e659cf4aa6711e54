"""A line for what one thread at a time may use: never two inside, nobody left waiting."""

from __future__ import annotations

import contextlib
import threading
from functools import partial

import pytest

from microbatch.turns.one_at_a_time import OneAtATime
from microbatch.turns.runtime import ThreadRuntime
from tests.support.deterministic import DetRuntime, explore, explore_all, fastest_carrier
from tests.support.interrupts import Interrupt, in_thread_of_its_own

RUNTIME = ThreadRuntime()


class Room:
    """Notices when two are inside."""

    def __init__(self, runtime: DetRuntime, fails: int | None = None) -> None:
        self.line = OneAtATime(runtime)
        self.inside = 0
        self.left: list[int] = []
        self._runtime = runtime
        self._fails = fails

    def stay(self, number: int) -> int:
        self.inside += 1
        assert self.inside == 1, "two are inside"
        self._runtime.point("inside")
        self.inside -= 1
        self.left.append(number)
        if number == self._fails:
            raise ValueError("no room")
        return number

    def enter(self, number: int) -> None:
        with contextlib.suppress(ValueError):
            assert self.line.run(partial(self.stay, number)) == number


@pytest.mark.parametrize("fails", [None, 0, 1])
def test_one_is_inside_at_a_time_and_everybody_gets_in(fails: int | None) -> None:
    def program(runtime: DetRuntime) -> None:
        room, before = Room(runtime, fails), runtime.monotonic()
        tasks = [runtime.spawn(partial(room.enter, number), name=f"thread {number}") for number in (1, 2)]
        room.enter(0)
        for task in tasks:
            task.join()
        assert sorted(room.left) == [0, 1, 2]
        assert runtime.monotonic() == before, "somebody was not woken and waited for the clock"

    explore_all(program, preemptions=2, limit=1500, carrier=fastest_carrier()).check()
    explore(program, range(150), carrier=fastest_carrier(), spurious=3).check()


def test_an_error_comes_out_and_the_next_one_gets_in() -> None:
    line = OneAtATime(RUNTIME)

    def fail() -> None:
        raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        line.run(fail)
    assert line.run(lambda: 7) == 7


@in_thread_of_its_own
def test_an_interrupt_at_every_bytecode_leaves_the_line_free() -> None:
    line = OneAtATime(RUNTIME)
    with Interrupt(0) as counting:
        line.run(int)
    assert counting.seen > 100
    for at in range(1, counting.seen + 1):
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at):
            line.run(int)
        entered: list[int] = []
        other = threading.Thread(target=lambda seen=entered: line.run(lambda: seen.append(1)), daemon=True)
        other.start()
        other.join(30)
        assert entered == [1], f"bytecode {at}: the line was not left"


class ImpatientGate:
    """Nobody opens it; whoever waits looks again at once, a hundred times."""

    def __init__(self) -> None:
        self.waits = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        assert self.waits < 100, "the line was not left"
        return False

    def open(self) -> None: ...


class ImpatientRuntime:
    """Gives out such gates."""

    gate = ImpatientGate

    def point(self, label: str) -> None: ...


@in_thread_of_its_own
def test_an_interrupt_at_every_bytecode_of_a_wait_leaves_the_line_free() -> None:
    """Whoever is first in the line comes a second time, which would be for ever."""
    line = OneAtATime(ImpatientRuntime())  # type: ignore[arg-type]  # what a line needs of a runtime
    for at in range(1, 200):
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at):
            line.run(lambda: line.run(int))
        assert line.run(int) == 0, f"bytecode {at}"
