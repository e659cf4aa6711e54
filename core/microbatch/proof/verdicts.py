"""The verdicts of one wrapper, by the structure of its calls.

Invariant: no more than `KEPT` are remembered, and none holds an array. Numbers among the arguments have
verdicts of their own, since a sum over axis 1 may be cut and one over axis 0 may not. Only where `ENOUGH`
different ones have had the very same verdict is it that of all others too: a time step or a temperature that
is new in each call would else be tried in each. Usable from several threads at once: each operation is one of
a dictionary's own.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from microbatch.proof.verdict import Verdict

KEPT = 128
"""Structures remembered. A program has a handful; ever new ones must not fill the memory."""
ENOUGH = 8
"""Different numbers with one verdict, after which it is that of any number."""

Numbers = tuple[Hashable, ...]


class Verdicts:
    """What is known."""

    __slots__ = ("_by_numbers", "_common")

    def __init__(self) -> None:
        self._by_numbers: dict[tuple[Hashable, Numbers], Verdict] = {}
        self._common: dict[Hashable, tuple[Verdict | None, int]] = {}
        """Structure -> the verdict of all numbers so far, None where they differ; and how many they were."""

    def find(self, structure: Hashable, numbers: Numbers) -> Verdict | None:
        """The verdict for calls of this structure with these numbers; None where there is none."""
        verdict = self._by_numbers.get((structure, numbers))
        if verdict is None and numbers:
            common, count = self._common.get(structure, (None, 0))
            return common if count >= ENOUGH else None
        return verdict

    def keep(self, structure: Hashable, numbers: Numbers, verdict: Verdict) -> None:
        """Remember it in place of what was known; one that saw nothing says nothing of other numbers."""
        if numbers and not verdict.blind:
            common, count = self._common.get(structure, (verdict, 0))
            self._common[structure] = (common if common == verdict else None, count + 1)
        _make_room(self._by_numbers)
        _make_room(self._common)
        self._by_numbers[structure, numbers] = verdict

    def forget(self, structure: Hashable, numbers: Numbers) -> None:
        """Ask anew the next time."""
        self._by_numbers.pop((structure, numbers), None)
        self._common.pop(structure, None)


def _make_room(kept: dict[Any, Any]) -> None:
    while len(kept) >= KEPT:
        kept.pop(next(iter(kept)), None)
