"""`fixed`: always the same number of ubatches."""

from __future__ import annotations

from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.option_checks import whole


class Fixed:
    """Cut every batch into `num_ubatches` parts of equal size; None takes the configured count."""

    def __init__(self, num_ubatches: int | None = None) -> None:
        asked = num_ubatches is not None
        self._num_ubatches = whole("fixed", "num_ubatches", num_ubatches) if asked else None
        self._last: tuple[int, int, Proposal] = (0, 0, Proposal())

    def propose(self, request: SizingRequest) -> Proposal:
        """The size that gives the count; the same object for the same numbers, which spares its check."""
        count = self._num_ubatches or request.num_ubatches
        tokens, last_count, answer = self._last
        if tokens != request.num_tokens or last_count != count:
            answer = parts(request, count)
            self._last = (request.num_tokens, count, answer)
        return answer

    def observe(self, report: StepReport) -> None:
        """Nothing to learn."""


def parts(request: SizingRequest, count: int) -> Proposal:
    """The proposal that cuts the batch of `request` into `count` parts."""
    if count < 2:
        return Proposal(split=False, reason="1 ubatch asked for")
    return Proposal(limit=max(1, -(-request.num_tokens // count)), reason=f"{count} ubatches asked for")
