"""Whether this process is still the one in which something was noted, or a child that was forked since.

Invariant: the count in a forked child is another one than in its parent, from the first Python code that runs
there. So what a thread of the parent has left half done (somebody is inside, a step holds a limit) is known
by its count to be none of the child's, which has none of these threads.

Rejected: comparing `os.getpid()` where it is asked several times a step, a system call of 0.7 us.
"""

from __future__ import annotations

import os


class Forks:
    """Counts the forks between the first process and this one."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0
        """Equal for what happens in one process, different in its forked children."""

    def one_more(self) -> None:
        """For the child of a fork."""
        self.count += 1


FORKS = Forks()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=FORKS.one_more)
