"""A process group without processes: each rank is a thread with a wrapper of its own.

Invariant: what ranks tell each other goes through `FakeGroup` and nothing else, so drawn ranks run a step as
ranks of a real group do. Waits are gates of the runtime, so the same group runs under drawn schedules.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from microbatch.turns.runtime import Runtime, default_runtime
from microbatch_backends.host.backend import CpuBackend


@dataclass(slots=True, eq=False)
class Round:
    """One all-reduce."""

    said: dict[int, Sequence[int]] = field(default_factory=dict)
    """What each rank that has come says."""
    left: bool = False
    """Whether a rank gave up waiting."""


class FakeGroup:
    """`size` ranks that find the largest of their numbers."""

    def __init__(self, size: int, runtime: Runtime | None = None, limit: float = 20.0) -> None:
        """`limit` is in seconds, for who names none."""
        self.size = size
        self.limit = limit
        self.rounds = 0
        """All-reduces that were ended."""
        self.ranks = [FakeRanks(self, rank) for rank in range(size)]
        self._gates = [(runtime or default_runtime()).gate() for _ in range(size)]
        self._round = Round()
        self._lock = threading.Lock()

    def end(self) -> None:
        """Let the gates go: the group and its ranks are a cycle, which would keep their descriptors."""
        self._gates.clear()

    def largest(self, rank: int, numbers: Sequence[int], timeout: float | None) -> list[int]:
        """The largest of each number, when all ranks have come."""
        with self._lock:
            here = self._round
            if here.left:
                self._round = Round()
                raise ConnectionError("another rank has left")
            here.said[rank] = tuple(numbers)
            last = len(here.said) == self.size
            if last:
                self._round, self.rounds = Round(), self.rounds + 1
        for other in range(self.size) if last else ():  # without the lock: others may run meanwhile
            if other != rank:
                self._gates[other].open()
        while len(here.said) < self.size:
            if not self._gates[rank].wait(self.limit if timeout is None else timeout):
                here.left = True
                raise TimeoutError(f"only {len(here.said)} of {self.size} came")
        return [max(column) for column in zip(*here.said.values(), strict=True)]


@dataclass(frozen=True, slots=True)
class FakeRanks:
    """One rank of it, as a backend tells of it."""

    group: FakeGroup
    """All of them."""
    rank: int
    """Its number."""

    @property
    def size(self) -> int:
        """How many there are."""
        return self.group.size

    def largest(self, numbers: Sequence[int], timeout: float | None) -> list[int]:
        """As `microbatch.extend.abilities.Ranks` says."""
        return self.group.largest(self.rank, numbers, timeout)


class SameElsewhere:
    """The first of two ranks, the other of which says what this one says."""

    rank = 0
    size = 2

    def largest(self, numbers: Sequence[int], timeout: float | None) -> Sequence[int]:
        """What was said."""
        return list(numbers)


class RankBackend(CpuBackend):
    """The host backend of one rank; of none while `found` is None."""

    name = "rank"
    grouping = "sys"
    """Always there: so it is asked at each step."""

    def __init__(self, found: FakeRanks | None = None) -> None:
        super().__init__()
        self.found = found
        self.asked: list[object] = []
        """The groups that were named."""

    def ranks(self, group: object | None) -> Any:
        """The given ranks, whatever the group."""
        self.asked.append(group)
        return self.found


def on_all_ranks(bodies: Sequence[Callable[[], Any]], limit: float = 60.0) -> list[Any]:
    """What each body returned or raised, each run in a thread of its own; fails where one has not ended."""
    answers: list[Any] = [None] * len(bodies)

    def run(rank: int) -> None:
        try:
            answers[rank] = bodies[rank]()
        except BaseException as error:  # noqa: BLE001 - judged by the test
            answers[rank] = error.with_traceback(None)  # its frames hold `answers`, a cycle

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(limit)
    assert not any(thread.is_alive() for thread in threads), "a rank hangs"
    return answers
