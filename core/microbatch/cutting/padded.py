"""Slices of a step that is padded to a captured size (vLLM's rules)."""

from __future__ import annotations

from collections.abc import Sequence

from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import SliceError
from microbatch.options.checks import count, position

__all__ = ["is_last_ubatch_empty", "padded_twin"]


def padded_twin(
    slices: Sequence[UBatchSlice], num_tokens_padded: int, num_reqs_padded: int
) -> tuple[UBatchSlice, ...]:
    """The same slices, the last one stretched to the padded counts; SliceError where these are lower."""
    if not slices:
        raise SliceError("there are no slices to stretch; cut the batch first")
    last = slices[-1]
    tokens, requests = last.token_slice, last.req_slice
    for name, padded, real in (
        ("num_tokens_padded", position("num_tokens_padded", num_tokens_padded), tokens.stop),
        ("num_reqs_padded", position("num_reqs_padded", num_reqs_padded), requests.stop),
    ):
        if padded < real:
            raise SliceError(f"{name} is {padded}, below the {real} that the slices hold; padding only adds")
    return (
        *slices[:-1],
        UBatchSlice.from_range(tokens.start, num_tokens_padded, requests.start, num_reqs_padded),
    )


def is_last_ubatch_empty(num_tokens: int, num_tokens_padded: int, num_ubatches: int) -> bool:
    """Whether the floor rule would leave the last ubatch padding only (vLLM's condition)."""
    parts = count("num_ubatches", num_ubatches)
    padded = position("num_tokens_padded", num_tokens_padded)
    return padded // parts * (parts - 1) >= position("num_tokens", num_tokens)
