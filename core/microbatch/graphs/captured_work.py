"""What a graph stands for (one call of the function, or a whole step), and what became of it in one step.

Invariant: `plain` and `captured` give the same result. `captured` may only do what a capture bears: it reads
no value on the host, recovers from nothing and tells nobody, since a replay repeats none of that.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from microbatch.extend.device import Device


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
    real: int | None = None
    """Rows that are no padding, where the caller has padded the batch."""
    finish: Callable[[Any], Any] | None = None
    """finish(result) -> the real rows of what a replay gave for a padded batch; None where all are real."""
    ubatches: int = 1
    """How many ubatches one replay stands for."""
    refused: str = ""
    """Why it is not captured, empty where it may be."""


@dataclass(slots=True, eq=False)
class Replays:
    """What was replayed in one step, and why not; `hits` and `misses` are ubatches."""

    device: Device
    """What captures and replays."""
    hits: int = 0
    """Ubatches that were replayed."""
    misses: int = 0
    """Ubatches that ran as they are."""
    captures: int = 0
    """Graphs that were made."""
    note: str = ""
    """Why the last call was not replayed; empty where it was, or may be next time."""

    def plain(self, work: CapturedWork, args: tuple[Any, ...], kwargs: Mapping[str, Any], reason: str) -> Any:
        """Run `work` as it is; `reason` is empty where it may be replayed next time."""
        self.note = reason
        self.misses += work.ubatches
        return work.plain(*args, **kwargs)
