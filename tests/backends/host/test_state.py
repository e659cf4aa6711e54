"""Context variables and NumPy's error state go to the thread that applies them, and away again."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch_backends.host.state import HostState

ONE: contextvars.ContextVar[int] = contextvars.ContextVar("ONE")
TWO: contextvars.ContextVar[int] = contextvars.ContextVar("TWO")


def in_thread(function: Callable[[], Any]) -> Any:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(function()))
    thread.start()
    thread.join()
    return answers[0]


@given(caller=st.none() | st.integers(), worker=st.none() | st.integers(), inside=st.none() | st.integers())
def test_a_worker_sees_the_callers_values_and_keeps_its_own(
    caller: int | None, worker: int | None, inside: int | None
) -> None:
    def capture() -> HostState:
        if caller is not None:
            ONE.set(caller)
        return HostState()

    state = contextvars.Context().run(capture)

    def work() -> tuple[int | None, int | None, int | None]:
        if worker is not None:
            ONE.set(worker)
        with state.apply():
            seen = ONE.get(None)
            if inside is not None:
                ONE.set(inside)
                TWO.set(inside)
        return seen, ONE.get(None), TWO.get(None)

    assert in_thread(work) == (caller, worker, None)


def test_several_threads_may_be_inside_at_once() -> None:
    ONE.set(1)
    state, meeting = HostState(), threading.Barrier(3)
    seen: list[int] = []

    def work(number: int) -> None:
        with state.apply():
            meeting.wait(20)
            seen.append(ONE.get())
            ONE.set(number)
            meeting.wait(20)
            seen.append(ONE.get())

    threads = [threading.Thread(target=work, args=(number,)) for number in (10, 11, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[:3] == [1, 1, 1] and sorted(seen[3:]) == [10, 11, 12]


def test_it_may_be_entered_again_inside_itself() -> None:
    state = HostState()
    with state.apply(), state.apply():
        ONE.set(5)


@pytest.mark.pitfall(3)
def test_the_error_state_of_numpy_is_carried() -> None:
    with np.errstate(over="raise"):
        state = HostState()

    def overflow() -> str:
        with state.apply():
            try:
                np.float32(3e38) * np.float32(10)
            except FloatingPointError:
                return np.geterr()["over"] + "d"
        return "silent"

    assert in_thread(overflow) == "raised"


def test_everything_is_undone_when_the_block_raises() -> None:
    ONE.set(1)
    state = HostState()
    ONE.set(2)
    with pytest.raises(ZeroDivisionError), state.apply():
        assert ONE.get() == 1
        ONE.set(3)
        raise ZeroDivisionError
    assert ONE.get() == 2
