"""Where in its batch the calling code is: the tokens before those that it was given.

Invariant: the offset belongs to one call of the function. A ubatch starts at its slice. Whoever runs a batch
in parts without contexts (a part that ran out of memory, or the first small parts of a watched step) adds
where each part begins. What was added inside one ubatch does not count in the ubatches of a step inside it.
Rejected: the slice of the ubatch alone, since a function that writes at its offset would then write the
second half of a part that runs in halves over the first.
"""

from __future__ import annotations

from contextvars import ContextVar

from microbatch.turns.context import UBatchContext, current_ubatch

Before = tuple[UBatchContext | None, int]
"""A ubatch (None: no step), and the tokens of it before the part that runs."""

BEFORE: ContextVar[Before] = ContextVar("microbatch_tokens_before", default=(None, 0))
"""What `begin` added; it counts only in the ubatch it was added in."""


def token_offset() -> int:
    """The first token of the calling code's part in its batch; 0 outside a step."""
    context = current_ubatch()
    return _before(context) + (0 if context is None else context.slice_info.token_slice.start)


def tokens_before() -> Before:
    """What counts for the calling code now, for `begin` to add to and `put_back` to put back."""
    context = current_ubatch()
    return context, _before(context)


def begin(former: Before, tokens: int) -> None:
    """From here on a part runs that begins `tokens` after what the caller was given."""
    context, before = former
    BEFORE.set((context, before + tokens))


def put_back(former: Before) -> None:
    """The last part has ended; twice is once."""
    BEFORE.set(former)


def _before(context: UBatchContext | None) -> int:
    owner, tokens = BEFORE.get()
    return tokens if owner is context else 0
