"""`tokens`: a budget per ubatch, in the batch's unit (rows, tokens, or padded cost when packed)."""

from __future__ import annotations

from microbatch.extend.records import Proposal, SizingRequest, StepReport, unit_label
from microbatch_policies.option_checks import whole


class Tokens:
    """At most `max_tokens` units in one ubatch; None takes the configured budget.

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

    def observe(self, report: StepReport) -> None:
        """Nothing to learn."""
