"""What a prover is asked and answers.

Invariant: records only. One call that is to be cut, what came of trying it, and the step's own result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from microbatch.binding.batch import Batch
from microbatch.binding.binder import Binder
from microbatch.extend.device import Device
from microbatch.proof.verdict import Evidence, Verdict


class Asked(Struct, frozen=True, kw_only=True):
    """One call that is to be cut."""

    binder: Binder
    """Finds its batch."""
    args: tuple[Any, ...]
    """Positional arguments."""
    kwargs: Mapping[str, Any]
    """Arguments by name."""
    first: Batch
    """Its batch by the first reading."""
    streamed: bool
    """Whether the step moves host arrays to the device before it calls the function."""
    inside_requests: bool = False
    """Whether the step cuts requests in two."""
    largest: int | None = None
    """Rows of its largest planned part; None where none is planned."""
    fewest: int | None = None
    """Fewest rows that its parts shall have, where these follow their times; None for any other step."""
    together: bool = False
    """Whether other ranks run the step too, so that nothing may be tried."""
    compiled: tuple[int, ...] | None = None
    """Sizes of its parts that may be tried, largest first, where the function is compiled for each; None for
    any other function."""


class Proof(Struct, frozen=True):
    """What came of trying."""

    verdict: Verdict
    """Whether the function may be cut."""
    evidence: Evidence | None = None
    """Rows that were computed, where it may."""
    error: Exception | None = None
    """What the function raised, where that is all that was seen."""


class StepResult(Struct, frozen=True, kw_only=True):
    """The result of the step that an experiment was made for."""

    result: Any
    """What the caller will get."""
    device: Device
    """Where it was made."""
    given: bool
    """Whether it is in places of the caller's."""
