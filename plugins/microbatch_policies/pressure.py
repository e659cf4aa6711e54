"""`pressure`: shrink while memory is under pressure, grow back when it is gone.

A Schmitt trigger (Ray's 0.85 and 0.65) decides when to act, a PI controller in velocity form on the logarithm
of the size how much: between the two marks nothing flips from step to step. Invariant: at least one unit is
always allowed, so a policy that waits for others' memory cannot wait for ever; a failed reading keeps the
last value, since zero would be false safety.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from microbatch.errors import ArgumentValueError
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch_policies.kept import OwnState, state_of
from microbatch_policies.option_checks import number

PROPORTIONAL = 2.0
"""Change of the logarithm of the size for each unit by which the pressure moved since the last step."""
INTEGRAL = 1.0
"""Change of it in each step for each unit by which the pressure is above the aim."""
MOST_DOWN, MOST_UP = math.log(0.5), math.log(1.25)
"""Most that one step may change: to half, and to five quarters."""
DEAD = 0.02
"""Distance from the aim within which nothing changes."""
LEAST = math.log(2.0**-40)
"""Smallest logarithm that is kept: below every batch, and growing back from it takes 125 steps."""


class Pressure:
    """Acts from `high` on until the pressure is below `low`; aims at the middle between them."""

    def __init__(self, high: float = 0.85, low: float = 0.65) -> None:
        self._high, self._low = number("pressure", "high", high, 1), number("pressure", "low", low, 1)
        if low >= high:
            got = f"low={low!r}, high={high!r}"
            raise ArgumentValueError(f"policy 'pressure' got {got}; give a low below high")
        self._aim = (high + low) / 2
        self._last: float | None = None
        self._log = 0.0
        """Logarithm of the share of the size that is allowed."""
        self.engaged = False

    def quiet(self, request: SizingRequest) -> bool:
        """Whether there is nothing to do and nothing to undo."""
        memory = request.memory
        return not self.engaged and self._log == 0.0 and (memory is None or memory.pressure < self._high)

    def propose(self, request: SizingRequest) -> Proposal:
        """The share of the limit so far (or of the batch) that the pressure leaves: all without any."""
        pressure = self._last if request.memory is None else request.memory.pressure
        if pressure is not None:
            self._turn(pressure)
        base = max(1, min(request.num_tokens, request.limit or request.num_tokens))
        if self._log >= 0:
            return Proposal(limit=base)
        limit = max(1, int(base * math.exp(self._log)))
        return Proposal(limit=limit, reason=f"memory pressure {pressure:.2f}", hard=True)

    def observe(self, report: StepReport) -> None:
        """Nothing to learn: the reading comes with the request."""

    def state(self) -> Mapping[str, Any]:
        """Nothing is worth keeping: pressure is of now."""
        return state_of("pressure")

    def restore(self, state: Mapping[str, Any]) -> None:
        """Start anew; raises ValueError for foreign state."""
        with OwnState("pressure", state):
            self._last, self._log, self.engaged = None, 0.0, False

    def _turn(self, pressure: float) -> None:
        """One step of the controller.

        A PI controller holds u = -P e - I sum(e), with the error e = pressure - aim. Its velocity form adds
        the change of u alone, du = -P (e - e before) - I e: there is no sum that grows while the size is at a
        bound (wind-up), and e - e before is how far the pressure moved.
        """
        self.engaged = pressure >= (self._low if self.engaged else self._high)
        change = MOST_UP
        if self.engaged:
            error = pressure - self._aim
            moved = pressure - (self._aim if self._last is None else self._last)
            change = 0.0 if abs(error) < DEAD else -PROPORTIONAL * moved - INTEGRAL * error
        self._last = pressure
        self._log = max(LEAST, min(0.0, self._log + max(MOST_DOWN, min(MOST_UP, change))))
