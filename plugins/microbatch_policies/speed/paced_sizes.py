"""Where a step begins whose sizes follow the times of its parts: with what the last such steps have shown.

Invariant: a step has no part above four times the size that was best so far, and the first one none above a
16th of the batch, so memory that is not known is come to by and by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from microbatch.extend.records import Proposal, SizingRequest
from microbatch_policies.kept import MOST_UNITS, whole
from microbatch_policies.speed import constants as tuned

Pace = tuple[tuple[int, float], ...]
"""(units, seconds per unit of one part), as in a report."""


class PacedSizes:
    """What is known of one kind of batch."""

    def __init__(self) -> None:
        self._best: dict[int, int] = {}
        """Workers -> the best size with so many."""
        self._paces: dict[int, Pace] = {}
        """Workers -> what the last step with so many has shown."""
        self._told: dict[int, float] = {}
        """Size -> least seconds per unit of those measured elsewhere."""
        self._rising: dict[int, bool] = {}
        """Workers -> whether the largest of the parts were slower than the best."""

    def proposal(self, request: SizingRequest, reason: str, workers: int | None = None) -> Proposal:
        """Where to begin on `workers`, None for all, and the largest part."""
        side, units = workers or request.workers, request.num_tokens
        known = self._best.get(side) or next(iter(self._best.values()), None)
        if known is None:
            start, most = first_sizes(request)
        else:
            start, most = known, min(tuned.GROWTH * known, -(-units // max(2, side)))
        start = min(start, -(-units // max(2, side)))
        pace = self._paces.get(side, ())
        return Proposal(start=start, limit=max(start, most), reason=reason, workers=workers, pace=pace)

    def refreshed(self, proposal: Proposal, workers: int) -> Proposal:
        """A proposal from before, with what the steps since have shown."""
        pace = self._paces.get(proposal.workers or workers, ())
        return proposal if proposal.start is None or proposal.pace is pace else replace(proposal, pace=pace)

    def told(self, size: int, seconds_per_unit: float, workers: int) -> None:
        """Take a time that was measured elsewhere; the best of these is where the next step begins."""
        self._told[size] = min(seconds_per_unit, self._told.get(size, seconds_per_unit))
        self._best[workers] = min(self._told, key=self._told.__getitem__)

    def learn(self, pace: Pace, workers: int) -> bool:
        """Take note of what a step has shown; whether the next one begins elsewhere.

        The size stays where the best one is not clearly faster.
        """
        self._paces[workers] = pace
        known = {size: _middle([each for other, each in pace if other == size]) for size, _ in pace}
        least, before = min(known.values()), self._best.get(workers)
        self._rising[workers] = known[max(known)] > tuned.GAIN * least
        if before is not None and known.get(before, float("inf")) <= tuned.GAIN * least:
            return False
        self._best[workers] = min(size for size, seconds in known.items() if seconds <= tuned.GAIN * least)
        return True

    def whole_may_be_fast(self) -> bool:
        """Whether the whole batch may be faster than parts of it.

        It is the largest part that one worker may have: where its larger parts were slower, so is that.
        """
        return not self._rising.get(1, True)

    def as_json(self) -> list[list[int]]:
        """The best sizes."""
        return [list(each) for each in self._best.items()]

    @classmethod
    def from_json(cls, data: Any, workers: int) -> PacedSizes:
        """Raises ValueError or TypeError for anything that `as_json` did not make."""
        sizes = cls()
        for count, size in data:
            sizes._best[whole(count, 1, workers)] = whole(size, 1, MOST_UNITS)
        return sizes


def _middle(times: Sequence[float]) -> float:
    return sorted(times)[(len(times) - 1) // 2]


def first_sizes(request: SizingRequest) -> tuple[int, int]:
    """Units of the first parts of the first step, rather few, and the most that a part of it may have."""
    largest = request.largest_bytes_per_unit or request.bytes_per_unit or 1
    by_cache = max(1, tuned.TARGET_BYTES // largest)
    few = max(1, request.num_tokens // tuned.PACED_ROWS)
    return min(by_cache, few), request.num_tokens // tuned.MOST_PACED
