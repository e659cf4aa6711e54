"""The start line of a step: vLLM's barrier with a limit, and the step that its contexts have in common.

Invariant: each context joins the one step that its barrier stands for; a number that comes again begins a
new step, and makes a barrier that broke whole again. vLLM waits at its barrier without a limit, in the caller
too, and for ever where a thread fails before it enters. The barrier is vLLM's own object, kept for all steps
of a runner and waited at by code that is not ours, so its class is changed in place.
"""

from __future__ import annotations

import threading

from microbatch.errors import BarrierBrokenError
from microbatch_vllm.ring import Step


class StartLine(threading.Barrier):
    """A barrier whose waits have the limit of the step, and whose error says who did not come."""

    microbatch_step: Step

    def wait(self, timeout: float | None = None) -> int:
        """As in `threading.Barrier`; raises BarrierBrokenError where not all came in time."""
        step = self.microbatch_step
        try:
            return super().wait(step.limit if timeout is None else timeout)
        except threading.BrokenBarrierError:
            raise BarrierBrokenError(step.not_started()) from None


def step_of(barrier: threading.Barrier, index: int, limit: float | None) -> Step:
    """The step that ubatch `index` of `barrier` belongs to, new where the former one has that number."""
    line = _start_line(barrier)
    step = getattr(line, "microbatch_step", None)
    if step is None or index in step.members:
        if line.broken:
            line.reset()
        if step is not None:
            step.over = True
        step = line.microbatch_step = Step(line.parties - 1, limit)
    step.members.add(index)
    return step


def _start_line(barrier: threading.Barrier) -> StartLine:
    if not isinstance(barrier, StartLine):
        barrier.__class__ = StartLine
    assert isinstance(barrier, StartLine)
    return barrier
