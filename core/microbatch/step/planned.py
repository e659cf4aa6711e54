"""What one step was given: the facts that planning, running and reporting share."""

from __future__ import annotations

from dataclasses import dataclass

from microbatch.binding.batch import Batch
from microbatch.extend.protocols import Backend
from microbatch.extend.records import MemoryReading
from microbatch.sizing.planning import Plan

__all__ = ["Setting"]


@dataclass(frozen=True, slots=True)
class Setting:
    """Made once per step, before anything runs."""

    number: int
    """Number of the call, from 0."""
    started: float
    """Clock at the start of the call, seconds."""
    backend: Backend
    """The device of the step."""
    batch: Batch
    """The arguments, and where the rows are in them."""
    memory: MemoryReading
    """Reading at the start."""
    schedule: str
    """Name of the schedule."""
    note: str
    """Why that schedule, where there is something to tell."""
    plan: Plan
    """Where to cut."""

    @property
    def overlaps(self) -> bool:
        """Whether its ubatches take turns, so that a graph of it must hold them all."""
        return self.plan.cut is not None and self.schedule == "pingpong"
