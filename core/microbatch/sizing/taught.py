"""Times that the caller measured elsewhere, until there is a batch that says what kind of rows they are of.

Invariant: a policy is shown every time once, as a step of its own, with the signature of a batch that was
seen: times of other rows say nothing. Rejected: showing them at once with no signature, which policies file
under a kind of batch that never comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from microbatch.extend.records import SizingRequest, StepReport

MOST = 1024
"""Times kept; the oldest are dropped first."""


class Taught:
    """The times that no policy was shown yet. Adding and taking are one operation, so nothing is locked."""

    def __init__(self) -> None:
        self._times: deque[tuple[int, float]] = deque(maxlen=MOST)

    def __bool__(self) -> bool:
        return bool(self._times)

    def add(self, num_tokens: int, seconds: float) -> None:
        """One ubatch of `num_tokens` took `seconds`."""
        self._times.append((num_tokens, seconds))

    def best(self, cap: int | None) -> int:
        """The size that did the most units per second, of those within `cap`; 0 where there is none."""
        sizes = [(size / seconds, size) for size, seconds in self._times if cap is None or size <= cap]
        return max(sizes, default=(0.0, 0))[1]

    def reports(self, request: SizingRequest) -> Iterator[StepReport]:
        """Take the times out, each as the report of a step of such rows as `request` is for."""
        while self._times:
            try:
                num_tokens, seconds = self._times.popleft()
            except IndexError:  # another thread took the last one
                return
            yield report_of(request, num_tokens, seconds)


def report_of(request: SizingRequest, num_tokens: int, seconds: float) -> StepReport:
    """The report of a step of one ubatch that was measured elsewhere."""
    return StepReport(
        step=request.step,
        num_tokens=num_tokens,
        num_requests=num_tokens,
        sizes=(num_tokens,),
        seconds=seconds,
        unit=request.unit,
        signature=request.signature,
    )
