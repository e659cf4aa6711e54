"""The layers around the function of one step: graph, recovery, memory guard.

Invariant: each layer calls the next one inside and knows nothing of the others: function, then graph, then
recovery, then guard. Where ubatches overlap the graph is not around the function but around the whole step,
since the overlap is what is worth replaying.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from microbatch.gathering.run_parts import Layer
from microbatch.step.guarded_call import GuardedCall
from microbatch.step.recovery import Recovery

if TYPE_CHECKING:
    from microbatch.graphs.step_graphs import StepGraphs


class Layers(Struct, frozen=True):
    """The chain of one step, and the members of it that the step asks for more than a call."""

    call: Layer
    """The outermost layer."""
    recovery: Recovery
    """Runs a part that does not fit in smaller parts."""
    guard: GuardedCall | None
    """Bounds the parts by memory; None where nothing is watched."""
    graphs: StepGraphs | None
    """Replays the function or the step; None where graphs are off."""
