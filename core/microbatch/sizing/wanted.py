"""In how many parts a step is wanted, and how large they may be: a policy's answer and the user's cap as one.

Invariant: a number of parts that was asked for is what is wanted, as far as the batch can fill it; a limit
never yields to it, and makes more parts. The cap that a user set holds whatever the policy answers, "do not
split" too. A policy's limit is never below the longest request: by a limit no request is cut, so that one
runs anyway, and smaller parts beside it only cost time. The cap is the user's, and holds for all others too.
Rejected: putting the policy `tokens` into every chain for the cap, since a planner that cannot ask its policy
(another thread does) uses the last answer, which was for another batch.
"""

from __future__ import annotations

from msgspec import Struct

from microbatch.extend.chain import even_share
from microbatch.extend.records import Proposal, SizingRequest
from microbatch.sizing.together import Together


class Wanted(Struct, frozen=True, kw_only=True):
    """What the cut shall be like."""

    asked: int
    """Number of parts that was asked for; 1 where the limit alone says it."""
    count: int
    """The same, as far as the batch can fill it."""
    limit: int | None
    """Most units in a part; None where nothing bounds it below the batch."""
    cap: int | None
    """The cap that the user set, where it is below what the policy allows."""
    together: Together | None
    """The bounds of parts that take turns on threads; None where there are none."""

    @property
    def whole(self) -> bool:
        """Whether the batch is not to be cut."""
        return self.count < 2 and self.limit is None

    def size(self, num_tokens: int) -> int:
        """Units of the largest part where a batch of `num_tokens` is cut evenly."""
        return min(self.limit or num_tokens, even_share(self.count, num_tokens))

    def note(self, parts: int) -> str:
        """What the reason of the policy does not say of a step in so many parts; mostly nothing."""
        turns = "" if self.together is None else self.together.note(parts)
        return ", ".join(filter(None, (self._note(parts), turns)))

    def _note(self, parts: int) -> str:
        cap = "" if self.cap is None else f"max_tokens_per_ubatch={self.cap}"
        if self.asked == 1:
            return cap
        if parts > self.asked:
            return f"{parts} to keep {cap or f'the limit of {self.limit}'}"
        if self.together is not None and parts == self.together.parts < self.asked:
            return f"{parts} that take turns, as thread_pool_size is {parts}"
        return f"{parts} can be filled" if parts < self.asked else ""


def wanted(request: SizingRequest, proposal: Proposal, most: int, together: Together | None = None) -> Wanted:
    """What `proposal` comes to for a batch that can fill `most` parts; `request.limit` is the user's cap.

    A number that only the policy asks for is not above what `together` allows; a limit makes as many as it
    needs.
    """
    units, own, asked = request.num_tokens, None, 1
    if proposal.split:
        own = proposal.limit
        asked = proposal.count or (request.num_ubatches if own is None else 1)
    allowed, cap = max(own or units, request.longest_request), request.limit
    if cap is not None and (cap >= allowed or request.longest_request >= units):
        cap = None
    return Wanted(
        asked=asked,
        count=min(asked, most, most if together is None else together.parts),
        limit=cap or (allowed if allowed < units else None),
        cap=cap,
        together=together,
    )
