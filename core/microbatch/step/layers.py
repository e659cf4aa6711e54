"""The layers around the function of one step: graph, recovery, memory guard.

Invariant: each layer calls the next one inside and knows nothing of the others: function, then graph, then recovery, then
guard. Where ubatches overlap the graph is not around the function but around the whole step, since the overlap is what
is worth replaying.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from microbatch.gathering.run_parts import Layer
from microbatch.graphs.step_graphs import StepGraphs
from microbatch.step.guarded_call import GuardedCall
from microbatch.step.memory_guard import Watched
from microbatch.step.outcome import Outcome
from microbatch.step.planned import Planned
from microbatch.step.recovery import Recovery

__all__ = ["Layers", "layers_of"]


@dataclass(frozen=True, slots=True)
class Layers:
    """The chain of one step, and the members of it that the step asks for more than a call."""

    call: Layer
    """The outermost layer."""
    recovery: Recovery
    """Runs a part that does not fit in smaller parts."""
    guard: GuardedCall | None
    """Bounds the parts by memory; None where nothing is watched."""
    graphs: StepGraphs | None
    """Replays the function or the step; None where graphs are off."""


def layers_of(
    function: Callable[..., Any],
    planned: Planned,
    outcome: Outcome,
    graphs: StepGraphs | None,
    watched: Watched | None,
) -> Layers:
    """The layers around `function` for one step."""
    inner = function if graphs is None or planned.overlaps else graphs
    recovery = Recovery(inner, planned.binder, outcome)
    if watched is None:
        return Layers(recovery.call, recovery, None, graphs)
    guard = GuardedCall(recovery.call, watched, planned.binder, outcome)
    return Layers(guard.call, recovery, guard, graphs)
