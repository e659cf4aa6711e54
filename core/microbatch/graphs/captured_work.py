"""What a graph stands for: one call of the function, or a whole step of ubatches that take turns.

Invariant: `plain` and `captured` give the same result. `captured` may only do what a capture bears: it reads no value on
the host, recovers from nothing and tells nobody, since a replay repeats none of that.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

__all__ = ["CapturedWork", "one_call"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedWork:
    """One call of a wrapper, or of its function."""

    plain: Callable[..., Any]
    """Runs it as it is."""
    captured: Callable[..., Any]
    """Runs it on static arguments, once before a capture and once in it."""
    sizes: tuple[int, ...]
    """Numbers of rows that are captured, in increasing order; empty where rows are not padded."""
    cut: Hashable = None
    """Where its batch is cut; None for one call."""
    padded_cut: Hashable = None
    """The same for a batch that is padded to one of `sizes`."""
    ubatches: int = 1
    """How many ubatches one replay stands for."""
    refused: str = ""
    """Why it is not captured, empty where it may be."""


def one_call(function: Callable[..., Any], sizes: tuple[int, ...]) -> CapturedWork:
    """A call of the function itself."""
    return CapturedWork(plain=function, captured=function, sizes=sizes)
