"""Whether somebody records: the two context variables that a step asks.

Invariant: this imports nothing of the room, so that a process that records nothing loads nothing else of it,
which would be 8 ms of the first wrap. A step asks in the thread of its caller, so threads that have not the
context of the block are not recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from microbatch.extend.device import Device
    from microbatch.extend.records import StepReport
    from microbatch.schedules.step import Step
    from microbatch.timeline.recording import Recording


class Watch(Protocol):
    """Sees one step; `StepWatch` is one."""

    def whole(self, call: Callable[..., Any], device: Device) -> Callable[..., Any]:
        """`call` of the whole batch, seen."""
        ...

    def watched(self, step: Step) -> Step:
        """`step` with all that it does seen."""
        ...

    def reported(self, report: StepReport) -> None:
        """The report of the step."""


RECORDING: ContextVar[Recording | None] = ContextVar("microbatch_recording", default=None)
"""Who records the steps that the calling code makes; None for nobody."""

WATCH: ContextVar[Watch | None] = ContextVar("microbatch_watch", default=None)
"""Sees the step that the calling code runs; None where nobody records it."""
