"""Changes of the hand-off files that make no difference, and why; `statements.py` leaves them out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["EQUIVALENT"]

NO_LIMIT = "without `give_up` there is no limit, and a wait without one never says that it passed"

EQUIVALENT: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "turns/gates.py": {
            "EventGate.wait: constant: 0.0 -> 1 at column 75": "a limit of 0 is then a millisecond",
            "EventGate.wait: drop: core is not None of: "
            "core is not None and current_core() != core and self._is_to_be_moved()": (
                "None is no core that it may go to"
            ),
        },
        "turns/workers.py": {
            "Run.join: drop: self.give_up is not None of: "
            "not self.gate.wait(self.limit) and self.give_up is not None and sel...": NO_LIMIT,
        },
        "turns/greenlets.py": {
            "GreenletRing.carry: delete: self._greenlets.clear()": (
                "ended greenlets hold nothing, and the ring goes with its step"
            ),
        },
    }
)
"""File -> name of the mutant -> why it is equivalent."""
