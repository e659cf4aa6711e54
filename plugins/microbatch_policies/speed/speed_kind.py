"""What the search for speed knows of one kind of batch, and whether its time changes once it has settled.

Invariant: the times of a settled size are measured again after fixed numbers of steps, and at once when they
have moved for good. The noise of one step moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from microbatch_policies.speed.constants import COLD, DRIFT, PATIENCE, RECENT, RECHECK
from microbatch_policies.speed.fewer_workers import ladder
from microbatch_policies.speed.size_search import SizeSearch


class SpeedKind:
    """One kind of batch: its search with all `workers`, and those with fewer of them."""

    def __init__(
        self, search: SizeSearch, workers: int, fewer: Mapping[int, SizeSearch] | None = None
    ) -> None:
        self.search = search
        self.fewer = {count: SizeSearch(search.start) for count in ladder(workers)} | dict(fewer or {})
        self.calls = 0
        self.expected = 0.0
        self._recent = 0.0
        self._age = 0
        self._recheck = RECHECK
        self._patience = PATIENCE

    def settle(self, seconds_per_unit: float) -> None:
        """The search has ended with a size that takes so long."""
        self.expected = self._recent = seconds_per_unit
        self._age = 0

    def look(self, seconds_per_unit: float) -> Literal["settled", "due", "moved"]:
        """Take note of a settled step: whether all is as it was, or the times must be looked at again."""
        self._age += 1
        self._recent += RECENT * (seconds_per_unit - self._recent)
        # outside 1 / DRIFT to DRIFT times the settled time
        moved = not self.expected <= self._recent * DRIFT <= self.expected * DRIFT * DRIFT
        if moved and self._age >= self._patience:
            return "moved"
        return "due" if self._age >= self._recheck else "settled"

    def start_again(self) -> None:
        """Forget the times: they hold no more."""
        self._age = 0
        self._patience *= 2
        for search in (self.search, *self.fewer.values()):
            search.forget()

    def recheck_contenders(self) -> None:
        """Have the close sizes measured once more.

        From the second time on this holds also for each number of workers that was slower than all of them,
        though by less than four times. Its only time may have been a bad one, and one such step in 256 costs
        at most 1.6 %.
        """
        again, self._recheck, self._age = self._recheck > RECHECK, self._recheck * 4, 0
        self.search.recheck()
        for fewer in self.fewer.values():
            slower = min(map(fewer.value, fewer.arms), default=0.0) / self.expected
            if again and 1 < slower < COLD:
                fewer.forget()
            else:
                fewer.recheck()

    def as_json(self) -> list[Any]:
        """The search, and a search for each smaller number of workers."""
        return [self.search.as_json(), [[count, search.as_json()] for count, search in self.fewer.items()]]

    @classmethod
    def from_json(cls, data: list[Any], workers: int) -> SpeedKind:
        """Raises ValueError, KeyError or TypeError for anything that `as_json` did not make."""
        search, *rest = data
        fewer = {count: SizeSearch.from_json(one) for count, one in (rest[0] if rest else [])}
        if not set(fewer) <= set(ladder(workers)):
            raise ValueError(f"{sorted(fewer)!r} are not numbers of workers below {workers}")
        return cls(SizeSearch.from_json(search), workers, fewer)
