"""Changes of the hand-off files that make no difference, and why; `statements.py` leaves them out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["EQUIVALENT"]

ABSTRACT = "both drivers say how; a ring without one is never made"

ESCAPED = "the error is then the only one that escaped, and is raised as that"

NO_LIMIT = "without `give_up` there is no limit, and a wait without one never says that it passed"

EQUIVALENT: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "turns/handoff.py": {
            f"Ring.{method}: delete: raise AssertionError('a ring without a driver')": ABSTRACT
            for method in ("start", "hand_over", "leave")
        },
        "turns/gates.py": {
            "EventGate.wait: constant: 0.0 -> 1 at column 75": "a limit of 0 is then a millisecond",
            "EventGate.wait: drop: self.home is not None of: "
            "self.home is not None and _current_core() != self.home": "None is no core that it may go to",
        },
        "turns/workers.py": {
            "Run.start: constant: True -> False at column 65": "zip gets two lists that are made from one",
            "Run.join: drop: self.give_up is not None of: "
            "not self.gate.wait(self.limit) and self.give_up is not None and sel...": NO_LIMIT,
            "WorkerPool.run: drop: not run.errors of: "
            "not run.errors or not isinstance(error, Exception)": ESCAPED,
            "WorkerPool.run: delete: raise": ESCAPED,
        },
        "turns/greenlets.py": {
            "GreenletRing.run: delete: self._greenlets.clear()": (
                "ended greenlets hold nothing, and the ring goes with its step"
            ),
        },
        "schedules/pingpong.py": {
            "_on_greenlets: constant: 0 -> 1 at column 14": "in one thread all seats share what is current",
        },
    }
)
"""File -> name of the mutant -> why it is equivalent."""
