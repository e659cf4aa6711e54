"""Cases that break each promise on purpose, which the campaign must notice; see `test_noticed.py`.

The first draw of a case says which: so case numbers are looked up in `NUMBERS`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any

import numpy as np

from tests.campaign.records import Found, Part, draw_of

LEFT = frozenset({"threads", "descriptors", "garbage", "settings"})
PART = Part(
    name="broken",
    what="promises broken on purpose",
    unit="cases",
    full=10,
    short=10,
    limit=3.0,
    module="tests.campaign.broken",
)
KEPT: list[Any] = []
"""What a leak keeps."""


def begin() -> None:
    """Nothing."""


def nothing() -> tuple[str, ...]:
    """All is well."""
    return ()


def hangs() -> tuple[str, ...]:
    """Waits for ever."""
    threading.Event().wait()
    return ()


def dies() -> tuple[str, ...]:
    """Ends the process."""
    os.abort()


def raises() -> tuple[str, ...]:
    """An error that nobody expected."""
    raise ZeroDivisionError("in the case")


def tells() -> tuple[str, ...]:
    """A wrong answer that the case itself has seen."""
    return ("a wrong answer",)


def keeps_descriptors() -> tuple[str, ...]:
    """More descriptors than streams may hold."""
    KEPT.extend(os.pipe() for _ in range(20))
    return ()


def keeps_one_descriptor() -> tuple[str, ...]:
    """As few as streams may hold: seen when all cases are over."""
    KEPT.append(os.open("/dev/null", os.O_RDONLY))
    return ()


def leaves_garbage() -> tuple[str, ...]:
    """A batch that only the garbage collector frees."""
    circle: list[Any] = [np.zeros(3)]
    circle.append(circle)
    return ()


def leaves_a_setting() -> tuple[str, ...]:
    """The thread bound to one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return ()


WAYS: tuple[Callable[[], tuple[str, ...]], ...] = (
    nothing,
    hangs,
    dies,
    raises,
    tells,
    keeps_descriptors,
    keeps_one_descriptor,
    leaves_garbage,
    leaves_a_setting,
)


def _way(draw: Random) -> Callable[[], tuple[str, ...]]:
    return draw.choice(WAYS)


def case(draw: Random) -> Found:
    """One way to break a promise."""
    return Found(units={"cases": 1}, failures=_way(draw)())


def _first_numbers() -> dict[str, int]:
    found: dict[str, int] = {}
    for number in range(300):
        found.setdefault(_way(draw_of(0, PART.name, number)).__name__, number)
    return found


NUMBERS: Mapping[str, int] = MappingProxyType(_first_numbers())
"""Name of a way -> the first case of seed 0 that takes it."""
