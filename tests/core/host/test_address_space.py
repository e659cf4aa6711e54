"""Address space that is left, as the system limits it, and how many threads it has room for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from microbatch.host import address_space
from microbatch.host.address_space import (
    ARENA,
    STACK,
    address_space_is_limited,
    address_space_left,
    threads_that_fit,
)

MIB = 1 << 20
LIMITED = """
import resource
from microbatch.host.address_space import address_space_is_limited, address_space_left
assert not address_space_is_limited()
resource.setrlimit(resource.RLIMIT_AS, (1 << 31, resource.RLIM_INFINITY))
assert address_space_is_limited()
left = address_space_left()
assert 0 < left < 1 << 31, left
block = bytearray(1 << 28)
assert left - (1 << 28) - (1 << 22) < address_space_left() <= left - (1 << 28), (left, address_space_left())
"""


@pytest.mark.parametrize("limit", [-1, 1 << 62])
def test_without_a_limit_there_is_nothing_to_tell(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the system writes that there is none."""
    monkeypatch.setattr(address_space, "_address_space", lambda: limit)
    assert not address_space_is_limited()


def test_a_limit_below_what_is_used_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never less than nothing."""
    monkeypatch.setattr(address_space, "_address_space", lambda: 4096)
    assert address_space_left() == (0 if sys.platform == "linux" else 4096)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")
def test_what_is_mapped_is_taken_off() -> None:
    """A block of 256 MiB, in a process with a real limit."""
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stack", [0, 16 * MIB])
@pytest.mark.parametrize("system", [-1, 32 * MIB])
def test_a_thread_has_as_much_again_for_its_work(
    stack: int, system: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack, as this process or the system says, more for a framework's own threads, and an arena."""
    monkeypatch.setattr(address_space, "_stack", lambda: system)
    monkeypatch.setattr(address_space, "usable_cores", lambda: 3)
    one = 2 * (ARENA + 4 * (stack or (system if system > 0 else STACK)))
    assert [threads_that_fit(left, stack) for left in (0, one - 1, one, 3 * one)] == [0, 0, 1, 3]
