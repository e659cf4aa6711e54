"""`threshold`: split only batches that are large enough to gain from it, as vLLM's dual-batch overlap does.

The defaults are vLLM's (`dbo_decode_token_threshold` 32, `dbo_prefill_token_threshold` 512); a batch of
exactly the threshold is split, as in its code (its help text says "greater than").
"""

from __future__ import annotations

from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.fixed import parts
from microbatch_policies.option_checks import whole


class Threshold:
    """Cut into `num_ubatches` parts from `decode` or `prefill` tokens on; smaller batches run whole."""

    def __init__(self, decode: int = 32, prefill: int = 512) -> None:
        self._decode = whole("threshold", "decode", decode, least=0)
        self._prefill = whole("threshold", "prefill", prefill, least=0)

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
