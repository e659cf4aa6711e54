"""Who runs next: the strategies a deterministic runtime asks at every place where more than one task could
run.

Invariant: a strategy is a function of what it was built with and of the decisions so far, so the same
strategy on the same program gives the same schedule, and the list of choices of any run replays it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

__all__ = ["PCT", "BoundedSearch", "Decision", "Preemptions", "RandomWalk", "Replay", "Strategy"]


class Decision(NamedTuple):
    """One choice that was made."""

    candidates: tuple[int, ...]
    """Tasks that could go on, by number."""
    current: int | None
    """Who was running and could go on, None if it could not."""
    chosen: int
    """Who went on."""

    @property
    def preempts(self) -> bool:
        """Whether the running task was made to wait although it could go on."""
        return self.current is not None and self.chosen != self.current


class Strategy(Protocol):
    """Chooses among candidates."""

    def choose(self, candidates: Sequence[int], current: int | None) -> int:
        """One of `candidates` (at least two of them, increasing); `current` is None if it cannot go on."""
        ...


def _steady(candidates: Sequence[int], current: int | None) -> int:
    return candidates[0] if current is None else current


class Preemptions:
    """Goes on with the running task, except at a few numbered decisions: `[(8, 0)]` gives decision 8 to
    candidate 0.

    The form to draw from hypothesis: it shrinks to the one switch that matters.
    """

    def __init__(self, switches: Sequence[tuple[int, int]] = ()) -> None:
        self._switches: Mapping[int, int] = dict(switches)
        self._count = 0

    def choose(self, candidates: Sequence[int], current: int | None) -> int:
        """The running task, or the drawn one."""
        target = self._switches.get(self._count)
        self._count += 1
        if target is None:
            return _steady(candidates, current)
        return candidates[target % len(candidates)]


class RandomWalk:
    """Any candidate with the same probability."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed).randrange

    def choose(self, candidates: Sequence[int], current: int | None) -> int:
        """A random one."""
        return candidates[self._draw(len(candidates))]


class PCT:
    """Random priorities with `depth - 1` places where the running task drops to the lowest.

    Finds a bug that needs `depth` ordered events with probability 1/(n k^(depth-1)) a run, for n tasks and k
    steps (Burckhardt et al., ASPLOS 2010).
    """

    def __init__(self, seed: int, *, depth: int = 3, steps: int = 60) -> None:
        self._random = random.Random(seed)
        self._changes = {self._random.randrange(steps) for _ in range(depth - 1)}
        self._priorities: dict[int, float] = {}
        self._count = 0

    def choose(self, candidates: Sequence[int], current: int | None) -> int:
        """The candidate of the highest priority."""
        for task in candidates:
            if task not in self._priorities:
                self._priorities[task] = self._random.random()
        if current is not None and self._count in self._changes:
            self._priorities[current] = -float(self._count) - 1.0
        self._count += 1
        return max(candidates, key=self._priorities.__getitem__)


class Replay:
    """Repeats the choices of an earlier run, then goes on steadily."""

    def __init__(self, choices: Sequence[int]) -> None:
        self._choices = iter(tuple(choices))

    def choose(self, candidates: Sequence[int], current: int | None) -> int:
        """The recorded choice; where the program has changed and it is no candidate, the steady one."""
        chosen = next(self._choices, None)
        return chosen if chosen in candidates else _steady(candidates, current)  # type: ignore[return-value]


class BoundedSearch:
    """Every schedule with at most `preemptions` preemptions, one strategy after the other.

    Iterate over it, run each strategy it gives to the end, and tell `ran` the decisions of that run. Choices
    made because the running task could not go on are not preemptions and all of them are tried.
    """

    def __init__(self, preemptions: int) -> None:
        self._limit = preemptions
        self._prefix: list[int] | None = []

    def __iter__(self) -> Iterator[Replay]:
        while self._prefix is not None:
            yield Replay(self._prefix)

    def ran(self, decisions: Sequence[Decision]) -> None:
        """Take in what the last strategy led to; finds the next prefix not tried yet, from the end on."""
        spent = [0]
        for decision in decisions:
            spent.append(spent[-1] + decision.preempts)
        for position in reversed(range(len(decisions))):
            following = self._after(decisions[position], spent[position])
            if following is not None:
                self._prefix = [decision.chosen for decision in decisions[:position]] + [following]
                return
        self._prefix = None

    def _after(self, decision: Decision, spent: int) -> int | None:
        """The alternative tried after the one that was: the steady one first, then the others by number."""
        first = _steady(decision.candidates, decision.current)
        order = [first, *(task for task in decision.candidates if task != first)]
        if decision.current is not None and spent >= self._limit:
            order = [first]
        rest = order[order.index(decision.chosen) + 1 :]
        return rest[0] if rest else None
