"""What one step was given and how it will run, for those who run it and those who report it."""

from __future__ import annotations

from msgspec import Struct

from microbatch.binding.batch import Batch
from microbatch.cutting.slices import Cut
from microbatch.extend.abilities import Ranks
from microbatch.extend.device import Device
from microbatch.extend.protocols import Backend
from microbatch.extend.records import MemoryReading
from microbatch.sizing.agreed_plan import whole_cut
from microbatch.sizing.plan import Plan
from microbatch.step.cuttable import Cuttable


class Planned(Struct, frozen=True):
    """Made once per step, before anything runs."""

    number: int
    """Number of the call, from 0."""
    started: float
    """Clock at the start of the call, in seconds."""
    device: Device
    """The backend of the step, with its abilities."""
    cuttable: Cuttable
    """Whether the batch may be cut, and how a part of it is cut further."""
    batch: Batch
    """The arguments, and where the rows are in them."""
    memory: MemoryReading
    """Reading at the start."""
    schedule: str
    """Name of the schedule."""
    note: str
    """Why that schedule; empty where there is nothing to tell."""
    plan: Plan
    """Where to cut."""
    policy: str
    """Name of the policy, or of the chain."""
    ranks: Ranks | None = None
    """The ranks that run this step together, in as many calls each; None where this process is alone."""
    alike: bool = True
    """Whether all of them have batches of the same sizes."""

    @property
    def backend(self) -> Backend:
        """The backend of the step."""
        return self.device.backend

    @property
    def overlaps(self) -> bool:
        """Whether its ubatches take turns, so that a graph of it must hold them all."""
        return self.plan.cut is not None and self.schedule == "pingpong"

    @property
    def rows(self) -> int:
        """Rows of the batch (tokens, where it has requests)."""
        return self.batch.shape.num_tokens

    def whole_cut(self) -> Cut:
        """The cut with one part, for a batch that is not split and still is gathered (`out=`, `streamed`)."""
        return whole_cut(self.batch.shape)
