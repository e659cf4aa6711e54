"""`fixed`, `threshold` and `tokens`: what the configuration says, with nothing to learn.

Invariant: for one request and one configuration there is one answer.
"""

from __future__ import annotations

from microbatch.extend.records import Proposal, SizingRequest, StepReport, unit_label
from microbatch_policies.option_checks import whole


class KeepsNothing:
    """A policy whose answer depends on the request alone."""

    def observe(self, report: StepReport) -> None:
        """Nothing to learn."""


class Fixed(KeepsNothing):
    """Cut every batch into `num_ubatches` parts, or as many as it can fill; None is the configured count."""

    def __init__(self, num_ubatches: int | None = None) -> None:
        self._num_ubatches = None if num_ubatches is None else whole("fixed", "num_ubatches", num_ubatches)
        self._last: tuple[int, Proposal] = (0, Proposal())

    def propose(self, request: SizingRequest) -> Proposal:
        """The count; the same object for the same number, which spares its check and a new plan."""
        count = self._num_ubatches or request.num_ubatches
        if self._last[0] != count:
            self._last = (count, _parts(count))
        return self._last[1]


class Threshold(KeepsNothing):
    """Cut into `num_ubatches` parts from `decode` or `prefill` tokens on; smaller batches run whole.

    The defaults are those of vLLM's dual-batch overlap (`dbo_decode_token_threshold` 32,
    `dbo_prefill_token_threshold` 512). A batch of exactly the threshold is split, as in its code (its help
    text says "greater than").
    """

    def __init__(self, decode: int = 32, prefill: int = 512) -> None:
        self._decode = whole("threshold", "decode", decode, least=0)
        self._prefill = whole("threshold", "prefill", prefill, least=0)

    def propose(self, request: SizingRequest) -> Proposal:
        """Whole below the threshold, the configured count from there on."""
        least, kind = (self._decode, "decode") if request.decode else (self._prefill, "prefill")
        if request.num_tokens >= least:
            return _parts(request.num_ubatches)
        reason = f"{request.num_tokens} tokens, below the {kind} threshold {least}"
        return Proposal(split=False, reason=reason)


class Tokens(KeepsNothing):
    """At most `max_tokens` rows, tokens or padded units in one ubatch; None takes the configured budget.

    The bound is hard: another policy of the chain cannot ask to run a larger batch whole. A request that is
    longer than the budget runs alone (the planner sees to it).
    """

    def __init__(self, max_tokens: int | None = None) -> None:
        self._max_tokens = None if max_tokens is None else whole("tokens", "max_tokens", max_tokens)

    def propose(self, request: SizingRequest) -> Proposal:
        """The budget, or the whole batch where it is smaller."""
        budget = self._max_tokens or request.max_tokens
        limit = max(1, min(budget, request.num_tokens))
        return Proposal(limit=limit, reason=f"at most {budget} {unit_label(request.unit)} each", hard=True)


def _parts(count: int) -> Proposal:
    """The proposal that cuts a batch into `count` parts."""
    if count < 2:
        return Proposal(split=False, reason="1 ubatch asked for")
    return Proposal(count=count, reason=f"{count} ubatches asked for")
