"""`threshold`: split only batches that are large enough to gain from it, as vLLM's dual-batch overlap does.

The defaults are vLLM's (`dbo_decode_token_threshold` 32, `dbo_prefill_token_threshold` 512); a batch of exactly the
threshold is split, as in its code (its help text says "greater than").
"""

from __future__ import annotations

from microbatch.errors import ArgumentValueError
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.fixed import parts

__all__ = ["Threshold"]


class Threshold:
    """Cut into `num_ubatches` parts from `decode` or `prefill` tokens on; smaller batches run whole."""

    def __init__(self, decode: int = 32, prefill: int = 512) -> None:
        for name, value in (("decode", decode), ("prefill", prefill)):
            if type(value) is not int or value < 0:
                raise ArgumentValueError(f"{name}={value!r} of policy 'threshold' must be a count of tokens")
        self._decode = decode
        self._prefill = prefill

    def propose(self, request: SizingRequest) -> Proposal:
        """Whole below the threshold, the configured count from there on."""
        least, kind = (self._decode, "decode") if request.decode else (self._prefill, "prefill")
        if request.num_tokens < least:
            return Proposal(
                split=False, reason=f"{request.num_tokens} tokens, below the {kind} threshold {least}"
            )
        return parts(request, request.num_ubatches)

    def observe(self, report: StepReport) -> None:
        """Nothing to learn."""
