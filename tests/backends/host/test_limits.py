"""A shared limit: whatever overlaps, is interrupted or forked, at the end the number is what it was."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.inside import inside
from microbatch_backends.host.blas import BlasThreads
from microbatch_backends.host.limits import Hold, Together
from tests.support.interrupts import Interrupt, in_thread_of_its_own
from tests.support.threads import switching_often

HERE = ("host/limits.py", "host/blas.py", "turns/at_most_one.py", "extend/inside.py")


class Library:
    def __init__(self, threads: int, path: str = "library") -> None:
        self.threads = threads
        self.filepath = path

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, threads: int) -> None:
        self.threads = threads


class Fakes(BlasThreads):
    def __init__(self, *threads: int) -> None:
        super().__init__()
        self.fakes = [Library(number, f"library {place}") for place, number in enumerate(threads)]

    def libraries(self) -> list[Any]:
        return self.fakes


@given(
    threads=st.lists(st.integers(1, 64), max_size=3),
    steps=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 20)), max_size=6),
)
def test_overlapping_steps_leave_the_number_as_it_was(
    threads: list[int], steps: list[tuple[int, int]]
) -> None:
    fakes = Fakes(*threads)
    inside = []
    for workers, leaves in steps:
        held = ExitStack()
        held.enter_context(fakes.hold(workers))
        inside.append(held)
        if leaves < len(inside):
            inside.pop(leaves).close()
    for held in inside:
        held.close()
    assert [library.threads for library in fakes.fakes] == threads


@given(threads=st.integers(1, 64), workers=st.integers(1, 80))
def test_each_worker_gets_its_share_and_at_least_one(threads: int, workers: int) -> None:
    fakes = Fakes(threads, 1)
    with fakes.hold(workers):
        assert fakes.fakes[0].threads == max(1, threads // workers)
        assert fakes.fakes[1].threads == 1


def test_it_is_the_share_of_all_threads_of_the_steps_that_hold_it() -> None:
    fakes = Fakes(8)
    with ExitStack() as last:
        with fakes.hold(2):
            assert fakes.fakes[0].threads == 4
            last.enter_context(fakes.hold(6))
            assert fakes.fakes[0].threads == 1
        assert fakes.fakes[0].threads == 1
        last.enter_context(fakes.hold(1))
    assert fakes.fakes[0].threads == 8


def test_it_is_put_back_when_the_step_raises() -> None:
    fakes = Fakes(4)
    with pytest.raises(ZeroDivisionError), fakes.hold(4):
        raise ZeroDivisionError
    assert fakes.fakes[0].threads == 4


def test_leaving_more_than_once_or_without_having_entered_changes_nothing() -> None:
    fakes = Fakes(6)
    with fakes.hold(2):
        again = fakes.hold(2)
        again.__exit__()
        again.__enter__()
        assert fakes.fakes[0].threads == 1
        again.__exit__()
        again.__exit__()
        assert fakes.fakes[0].threads == 3
    assert fakes.fakes[0].threads == 6


def test_a_step_that_is_dropped_without_leaving_holds_nothing() -> None:
    fakes = Fakes(4)
    hold = fakes.hold(4)
    hold.__enter__()
    assert fakes.fakes[0].threads == 1
    del hold
    gc.collect()
    assert (fakes.fakes[0].threads, fakes.threads()) == (4, 0)


@in_thread_of_its_own
def test_an_interrupt_at_any_bytecode_changes_nothing_for_good() -> None:
    """Alone, and beside a step that goes on; also while the error is kept, as the last one is at a prompt."""
    kept: list[BaseException] = []

    def interrupted(fakes: Fakes, at: int) -> bool:
        interrupt = Interrupt(at, HERE)
        try:
            with interrupt:
                inside(fakes.hold(2), lambda _: None)
        except KeyboardInterrupt as error:
            kept[:] = [error]
        return interrupt.seen >= at

    at = 0
    more = True
    while more:
        at += 1
        alone, beside = Fakes(8, 3), Fakes(8, 3)
        more = interrupted(alone, at)
        assert [library.threads for library in alone.fakes] == [8, 3], f"bytecode {at}"
        with beside.hold(2):
            interrupted(beside, at)
            assert beside.threads() == 2
            assert [library.threads for library in beside.fakes] == [4, 3], f"bytecode {at}"
        assert [library.threads for library in beside.fakes] == [8, 3], f"bytecode {at}"
    assert at > 300


@in_thread_of_its_own
def test_an_interrupt_between_two_limits_leaves_both() -> None:
    """As those of BLAS and of torch, which a step enters one after the other."""
    for at in range(1, 3000, 7):
        one, other = Fakes(8), Fakes(8)
        interrupt = Interrupt(at, HERE)
        with suppress(KeyboardInterrupt), interrupt:
            inside(Together(one.hold(2), other.hold(2)), lambda _: None)
        assert (one.fakes[0].threads, other.fakes[0].threads) == (8, 8), f"bytecode {at}"
        if interrupt.seen < at:
            break


@given(first=st.integers(1, 700), second=st.integers(1, 200))
@in_thread_of_its_own
def test_what_two_interrupts_leave_undone_the_next_step_does(first: int, second: int) -> None:
    """The second one strikes while the first is being cleaned up after."""
    fakes = Fakes(8)
    with suppress(KeyboardInterrupt), Twice(first, second):
        inside(fakes.hold(2), lambda _: None)
    with fakes.hold(4):
        assert fakes.fakes[0].threads == 2
    assert (fakes.fakes[0].threads, fakes.threads()) == (8, 0)


class Twice(Interrupt):
    """One more interrupt, a number of bytecodes after the first."""

    def __init__(self, at: int, later: int) -> None:
        super().__init__(at, HERE)
        self._later = later

    def _local(self, frame: Any, event: str, argument: Any) -> Any:
        try:
            return super()._local(frame, event, argument)
        except KeyboardInterrupt:
            self.at += self._later
            raise


def test_threads_that_come_and_go_at_the_same_time_leave_the_number_as_it_was() -> None:
    fakes = Fakes(16, 5)

    def work() -> None:
        for workers in (2, 3, 1) * 60:
            with fakes.hold(workers):
                assert fakes.fakes[0].threads <= 16

    with switching_often():
        in_threads(work, work, work, work)
    assert [library.threads for library in fakes.fakes] == [16, 5]


def test_in_a_forked_child_the_number_is_what_it_was_and_nobody_holds() -> None:
    """The steps that held are the parent's; one that the forking thread was in may still be left."""
    fakes = Fakes(8)
    own = fakes.hold(2)
    own.__enter__()
    others: list[Hold] = [fakes.hold(3)]
    in_threads(others[0].__enter__)
    assert fakes.fakes[0].threads == 1
    fakes.forked()
    assert (fakes.fakes[0].threads, fakes.threads()) == (8, 0)
    own.__exit__()
    with fakes.hold(4):
        assert fakes.fakes[0].threads == 2
    assert fakes.fakes[0].threads == 8


def test_a_number_that_was_changed_between_steps_is_the_one_that_is_put_back() -> None:
    fakes = Fakes(8)
    with fakes.hold(2):
        pass
    fakes.fakes[0].threads = 6
    with fakes.hold(2):
        assert fakes.fakes[0].threads == 3
    assert fakes.fakes[0].threads == 6


def in_threads(*works: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
