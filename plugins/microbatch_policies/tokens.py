"""`tokens`: a budget per ubatch, in the batch's unit (rows, tokens, or padded cost when packed)."""

from __future__ import annotations

from microbatch.errors import ArgumentValueError
from microbatch.extend.records import Proposal, SizingRequest, StepReport

__all__ = ["Tokens"]


class Tokens:
    """At most `max_tokens` units in one ubatch; None takes the configured budget.

    The bound is hard: another policy of the chain cannot ask to run a larger batch whole. A request that is longer
    than the budget runs alone (the planner sees to it).
    """

    def __init__(self, max_tokens: int | None = None) -> None:
        if max_tokens is not None and (type(max_tokens) is not int or max_tokens < 1):
            raise ArgumentValueError(
                f"max_tokens={max_tokens!r} of policy 'tokens' must be an int of at least 1, or None"
            )
        self._max_tokens = max_tokens

    def propose(self, request: SizingRequest) -> Proposal:
        """The budget, or the whole batch where it is smaller."""
        budget = self._max_tokens or request.max_tokens
        limit = max(1, min(budget, request.num_tokens))
        return Proposal(limit=limit, reason=f"at most {budget} {request.unit} each", hard=True)

    def observe(self, report: StepReport) -> None:
        """Nothing to learn."""
