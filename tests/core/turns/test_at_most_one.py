"""A place for at most one: nobody waits, nobody stays inside for good, and whoever was inside looks again."""

from __future__ import annotations

import gc
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.host.forks import FORKS
from microbatch.turns.at_most_one import AtMostOne, Place, Visit
from tests.support.interrupts import Interrupt, in_thread_of_its_own
from tests.support.threads import switching_often

HERE = ("turns/at_most_one.py",)


def gets_in(place: AtMostOne) -> bool:
    return place.run(lambda: True, lambda: False)


@given(st.integers(1, 6))
def test_who_comes_while_somebody_is_inside_is_sent_away(depth: int) -> None:
    """Also the thread that is inside itself, as in a finalizer."""
    place = AtMostOne()

    def inner(left: int) -> int:
        return place.run(lambda: inner(left - 1), lambda: left) if left else 0

    assert inner(depth) == depth - 1
    assert gets_in(place)


def test_what_is_raised_inside_comes_out_and_the_place_is_free() -> None:
    place = AtMostOne()
    with pytest.raises(ZeroDivisionError):
        place.run(lambda: 1 // 0, lambda: 0)
    assert gets_in(place)
    with pytest.raises(ZeroDivisionError):
        place.run(lambda: place.run(lambda: 0, lambda: 1 // 0), lambda: 0)
    assert gets_in(place)


def test_of_several_threads_one_is_inside_and_no_change_is_left_unseen() -> None:
    """Each makes a change, and relies on whoever is inside to look again (as `SharedLimit.settle`)."""
    place, inside, changes, seen = AtMostOne(), list[int](), list[int](), [0]

    def look() -> bool:
        inside.append(1)
        assert len(inside) == 1
        seen[0] = len(changes)
        inside.pop()
        return True

    def work() -> None:
        for _ in range(500):
            changes.append(1)
            while len(changes) != seen[0] and place.run(look, lambda: False):
                pass

    with switching_often():
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(changes) == 2000 == seen[0]


@in_thread_of_its_own
def test_an_interrupt_at_any_bytecode_keeps_nobody_out() -> None:
    """Although the error, and with it every frame, is kept, as the last one is at a prompt."""
    kept: list[KeyboardInterrupt] = []

    def interrupted(place: AtMostOne, at: int) -> bool:
        interrupt = Interrupt(at, HERE)
        try:
            with interrupt:
                assert place.run(lambda: gets_in(place), lambda: pytest.fail("nobody is inside")) is False
        except KeyboardInterrupt as error:
            kept[:] = [error]
        return interrupt.seen >= at

    for at in range(1, 1000):
        place = AtMostOne()
        more = interrupted(place, at)
        assert gets_in(place), f"bytecode {at}"
        if not more:
            break
    assert at > 100


def test_a_visit_that_was_cut_off_twice_is_over_once_nobody_holds_it() -> None:
    """Two interrupts, one on the way out and one in what repeats the leaving."""
    place = AtMostOne()
    visit = Visit()
    assert place._lets_in(Place(visit))
    assert not gets_in(place)
    del visit
    gc.collect()
    assert gets_in(place)


def test_in_a_forked_child_nobody_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though what was forked has the place as it was: a thread of the parent was inside."""
    place = AtMostOne()

    def inside() -> bool:
        assert not gets_in(place)
        monkeypatch.setattr(FORKS, "count", FORKS.count + 1)
        return gets_in(place)

    assert place.run(inside, lambda: False)
    assert gets_in(place)
