"""What an experiment is given, and what it shows.

Invariant: records only; a function that may not be cut is told by raising `Refuted` or `Raised` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from microbatch.binding.binder import Binder
from microbatch.binding.proven import ProvenOutputs
from microbatch.options.raised import name_of, text_of
from microbatch.proof.output_kinds import Refuted, Seen
from microbatch.proof.sample import Sample
from microbatch.turns.kept_errors import without_frames

SAME_MEMORY = "each call returns the same memory"
"""Why calls of a function that returns its own buffer must not overlap."""


class Raised(Refuted):
    """The function raised `original` on a part; it may need more rows than were tried.

    The frames of `original` are let go, since the experiment goes on; `where` says where it was raised.
    """

    def __init__(self, original: Exception, rows: int) -> None:
        super().__init__(f"it raises {name_of(original)} on {rows} rows: {text_of(original)}")
        self.original = original
        self.where = f"{without_frames(original)}, when it was tried on {rows} rows whether it may be cut"


class Shown(Struct, frozen=True, kw_only=True):
    """What an experiment has shown of a function that may be cut."""

    outputs: ProvenOutputs
    """What each output is."""
    seen: tuple[Seen, ...]
    """Its rows, to be compared with those of the step."""
    sample: Sample
    """Where they are in the batch."""
    why_sequential: str
    """Why two calls must not overlap; empty where they may."""
    shares_memory: bool
    """Whether two calls returned the same memory."""
    writes_inputs: bool
    """Whether the function wrote into its inputs."""

    @property
    def unmakeable(self) -> str:
        """Why the result cannot be made, so that it needs a place of the caller's; empty where it can."""
        return next((seen.unmakeable for seen in self.seen if seen.unmakeable), "")

    def has_rows(self) -> bool:
        """Whether any output has an entry per row, or is declared."""
        return any(rule.kind != "replicate" for rule in self.outputs.rules)


class Subject(Struct, frozen=True, kw_only=True):
    """What is tried."""

    function: Callable[..., Any]
    """The function of the wrapper."""
    binder: Binder
    """Has the layout, and the device."""
    moved: bool
    """Whether the step brings host arrays to the device before it calls the function."""
    inside_requests: bool
    """Whether the step cuts requests in two."""
    first: int | None = None
    """Rows of the first part, where the function is compiled for each size and the calls have two sizes."""
