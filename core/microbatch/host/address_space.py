"""Address space of this process: what is left of it where it is limited (`ulimit -v`), for how many threads.

A thread takes a stack, and glibc sets an arena aside for what it allocates, whether it is used or not. Where
that is limited, an array may find no room although hardly any memory is in use.

Invariant: without a limit nothing is read but the limit, as each step with threads asks for it.
"""

from __future__ import annotations

import sys

from microbatch.host.cores import usable_cores
from microbatch.host.proc import STATUS, kibibytes

NO_LIMIT = 1 << 60
"""Bytes from which a limit is none."""
ARENA = 128 << 20
"""Bytes that glibc maps for the allocations of a thread; it keeps half of them."""
STACK = 8 << 20
"""Bytes of a thread's stack where the system does not tell."""

if sys.platform == "win32":

    def _address_space() -> int:
        return -1

    def _stack() -> int:
        return -1
else:
    import resource

    def _address_space() -> int:
        """The soft limit of the address space in bytes; below 0 for none."""
        return resource.getrlimit(resource.RLIMIT_AS)[0]

    def _stack() -> int:
        """That of a stack, which is the size of a new thread's."""
        return resource.getrlimit(resource.RLIMIT_STACK)[0]


def address_space_is_limited() -> bool:
    """Whether there is a limit."""
    return 0 <= _address_space() < NO_LIMIT


def address_space_left() -> int:
    """Bytes that may still be mapped, where there is a limit."""
    return max(0, _address_space() - kibibytes(STATUS).get("VmSize", 0))


def threads_that_fit(left: int, stack: int) -> int:
    """How many threads more there is room for in `left` bytes, with as much again left for their work.

    `stack` is the size of a stack that this process has set, 0 for none. A framework may start as many
    threads again as there are cores, for each that computes.
    """
    system = _stack()
    stack = stack or (system if 0 < system < NO_LIMIT else STACK)
    return left // (2 * (ARENA + (1 + usable_cores()) * stack))
