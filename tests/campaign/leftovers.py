"""What cases leave behind in their process: threads, descriptors, settings, cyclic garbage.

Invariant: nothing is compared that the first use of the library makes for good: the first comparison is made
after `begin` of the part has used everything once. Threads of streams end by themselves after a second
without work, so they and the descriptors that they hold are compared when all cases are over; the threads of
a pool are gone when the wrapper has been shut down.

Garbage is what only the garbage collector would free: with a batch in it, memory that is gone until Python
happens to collect. So the collector is off while cases run, and what it finds after each is kept and named.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from microbatch import current_ubatch
from microbatch.dbo import dbo_enabled
from tests.campaign.garbage import told_of

PATIENCE = 20.0
"""Seconds for a thread to end."""
STREAM = re.compile(r"microbatch-[a-z]")
"""Begins the name of a thread that ends by itself."""
SLACK = 4
"""Descriptors beside the one that each thread of a stream holds while it lives: those of threads that end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Numbers that belong to the process or to the calling thread."""

    affinity: frozenset[int]
    """Cores the thread may run on."""
    blas: tuple[int, ...]
    """Threads of each BLAS library."""
    torch: int
    """Threads of one operation of torch; 0 where it is not loaded."""
    gradients: bool
    """Whether torch records gradients."""
    in_step: bool
    """Whether code that runs outside of steps is taken to be in one."""

    @classmethod
    def now(cls) -> Settings:
        """As they are."""
        torch = sys.modules.get("torch")
        return cls(
            affinity=frozenset(os.sched_getaffinity(0)),
            blas=_blas(),
            torch=0 if torch is None else torch.get_num_threads(),
            gradients=torch is not None and torch.is_grad_enabled(),
            in_step=current_ubatch() is not None or dbo_enabled(),
        )


class Leftovers:
    """Compares the process with what it was."""

    def __init__(self, kinds: frozenset[str]) -> None:
        """`kinds` are some of those in `CHECKS`."""
        self._kinds = kinds
        self._own = _threads()
        self._wait_for(lambda thread: True)
        self.descriptors = _descriptors()
        self.settings = Settings.now()
        if "garbage" in kinds:
            gc.collect()
            gc.freeze()  # all there is now is not looked at again: collecting takes a millisecond then
            gc.disable()
            gc.set_debug(gc.DEBUG_SAVEALL)

    def after_case(self) -> list[str]:
        """What is left that should not be; texts."""
        return [text for kind, check in CHECKS.items() if kind in self._kinds for text in check(self)]

    def at_end(self) -> list[str]:
        """The same, when the threads of streams have ended too."""
        left = self._wait_for(lambda thread: True)
        texts = [f"threads that do not end: {', '.join(left)}"] if left else []
        return texts + self._more_descriptors(0)

    def threads(self) -> list[str]:
        """Threads that should have ended."""
        left = self._wait_for(lambda thread: not STREAM.match(thread.name))
        streams = Counter(thread.name for thread in threading.enumerate() if STREAM.match(thread.name))
        left += [
            f"{name} ({count} times)" for name, count in streams.items() if count > 16
        ]  # they end by themselves
        return [f"threads left: {', '.join(left)}"] if left else []

    def some_descriptors(self) -> list[str]:
        """More descriptors than the threads of streams can hold, one each."""
        alive = sum(STREAM.match(thread.name) is not None for thread in threading.enumerate())
        return self._more_descriptors(SLACK + alive)

    def other_settings(self) -> list[str]:
        """Settings that are not what they were."""
        now = Settings.now()
        return [] if now == self.settings else [f"{self.settings} has become {now}"]

    def garbage(self) -> list[str]:
        """What only the garbage collector could free.

        Once the workers have ended: until then a run that they still hold keeps its claim on them, which goes
        with the run and not before.
        """
        self._wait_for(lambda thread: not STREAM.match(thread.name))
        gc.collect()
        told = told_of(gc.garbage)
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()  # frees them, else they are found again
        gc.set_debug(gc.DEBUG_SAVEALL)
        return [f"left to the garbage collector: {told}"] if told else []

    def _wait_for(self, which: Callable[[threading.Thread], bool]) -> list[str]:
        """Names of the threads of cases that do not end."""
        started = [thread for thread in threading.enumerate() if thread.ident not in self._own]
        waited = [thread for thread in started if which(thread)]
        for thread in waited:
            thread.join(PATIENCE)
        return sorted(thread.name for thread in waited if thread.is_alive())

    def _more_descriptors(self, slack: int) -> list[str]:
        more = _descriptors() - self.descriptors
        return [f"descriptors left: {dict(more)}"] if more.total() > slack else []


CHECKS: Mapping[str, Callable[[Leftovers], list[str]]] = MappingProxyType(
    {
        "garbage": Leftovers.garbage,
        "threads": Leftovers.threads,
        "descriptors": Leftovers.some_descriptors,
        "settings": Leftovers.other_settings,
    }
)
"""Kind -> what is compared after a case, in this order: garbage holds descriptors, threads hold settings."""


def _threads() -> frozenset[int | None]:
    return frozenset(thread.ident for thread in threading.enumerate() if not STREAM.match(thread.name))


def _descriptors() -> Counter[str]:
    """How many open descriptors there are of each kind of thing."""
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            found[re.sub(r"\d+", "N", os.readlink(f"/proc/self/fd/{number}"))] += 1
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def _blas() -> tuple[int, ...]:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return ()
    return tuple(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
