"""Root without root's powers: permissions of files count as they do for anybody else.

Capabilities belong to a thread on Linux, so a thread of its own gives them up, and with it they are gone.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import pytest

__all__ = ["without_root_powers"]

T = TypeVar("T")
VERSION = 0x20080522
OVERRIDE = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


def without_root_powers(call: Callable[[], T]) -> T:
    """What `call` returns, in a thread that may read and write what permissions say, whoever runs the tests.

    Skips the test where the system has no such thing.
    """
    if not hasattr(os, "geteuid"):
        pytest.skip("permissions as POSIX has them")
    returned: list[T] = []
    problem: list[str] = []

    def body() -> None:
        if os.geteuid() == 0 and not _give_up():
            problem.append("root may write everywhere here, and cannot give that up")
            return
        returned.append(call())

    thread = threading.Thread(target=body, name="without root's powers")
    thread.start()
    thread.join()
    if problem:
        pytest.skip(problem[0])
    return returned[0]


def _give_up() -> bool:
    try:
        system = ctypes.CDLL(None)
        head, sets = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)()
        if system.capget(head, sets) != 0:
            return False
        for index in range(3):  # effective, permitted, inheritable
            sets[index] &= ~OVERRIDE
        return bool(system.capset(head, sets) == 0)
    except (OSError, AttributeError):
        return False
