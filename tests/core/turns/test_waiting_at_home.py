"""A gate with a home is slept in on that core, and whoever has slept there may go anywhere again."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Set as AbstractSet
from typing import Any

import pytest

from microbatch.turns import gates
from microbatch.turns.gates import EventGate

if not hasattr(os, "eventfd"):
    pytest.skip("only gates on an eventfd have a home", allow_module_level=True)

HERE = 3
"""The core that the calling thread is said to run on."""


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[AbstractSet[int]]:
    """The cores that the thread was confined to, in order; it is never moved."""
    made: list[AbstractSet[int]] = []
    monkeypatch.setattr(gates, "current_core", lambda: HERE)
    monkeypatch.setattr(gates, "_confine", made.append)
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {1, HERE} if thread == 0 else set())
    return made


@pytest.mark.parametrize(
    ("home", "expected"),
    [
        (None, []),
        (HERE, []),
        (1, [{1}, {1, HERE}, {1, HERE}]),
        (7, []),
    ],
    ids=["no home", "at home", "away from home", "where it may not go"],
)
@pytest.mark.parametrize("is_open", [True, False])
def test_a_thread_is_moved_only_where_it_is_away_and_may_go(
    moves: list[AbstractSet[int]], home: int | None, expected: list[set[int]], is_open: bool
) -> None:
    gate = EventGate()
    gate.sleep_on(home)
    assert gate.wait(0) is False and moves == [], "the first wait moves nobody"
    if is_open:
        gate.open()
    assert gate.wait(0) is is_open
    assert moves == expected
    assert gate.wait(0) is False, "the permit was taken"


def test_a_thread_that_the_system_takes_away_again_and_again_is_moved_seldom(
    moves: list[AbstractSet[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each move costs more than the wake on another core; a new step begins anew."""
    gate = EventGate()
    for _ in range(2):
        gate.sleep_on(1)
        monkeypatch.setattr(gates, "current_core", lambda: 1)
        assert gate.wait(0) is False  # at home, which is not counted
        monkeypatch.setattr(gates, "current_core", lambda: HERE)
        moved = []
        for number in range(1, 40):
            assert gate.wait(0) is False
            moved += [number] if moves else []
            moves.clear()
        assert moved == [2, 18, 34]


def test_moving_confines_the_calling_thread_and_no_other() -> None:
    before, seen = os.sched_getaffinity(0), list[Any]()

    def body() -> None:
        gates._confine(frozenset((min(before),)))
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [{min(before)}]
    assert os.sched_getaffinity(0) == before


def test_a_permit_that_another_thread_takes_first_is_waited_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, read, refused = EventGate(), os.eventfd_read, [BlockingIOError()]

    def read_late(descriptor: int) -> int:
        if refused:
            raise refused.pop()
        return read(descriptor)

    monkeypatch.setattr(os, "eventfd_read", read_late)
    gate.open()
    assert gate.wait(0) is True
    assert gate.wait(0) is False


def test_without_a_c_library_that_tells_the_core_nobody_is_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: None) -> Any:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "PyDLL", missing)
    assert gates._core_reader()() is None
