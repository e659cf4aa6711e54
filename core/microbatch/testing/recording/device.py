"""The recording backend: runs everything at once, in the order of the host, and writes down what was ordered.

Invariant: results are those of a program whose every wait is there; which waits are missing is in `races()`.
One run is enough to find a missing wait between two accesses that the run makes, whatever order they happened
to run in.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from microbatch.testing.recording.checker import Findings, Race, check
from microbatch.testing.recording.trace import Trace
from microbatch.testing.simulated.backend import SimulatedBackend
from microbatch.testing.simulated.executor import Executor
from microbatch.testing.simulated.memory import MemoryModel


class RecordingBackend(SimulatedBackend):
    """A backend that keeps a trace. `identity` tells host threads apart where they are not real ones."""

    name = "recording"

    def __init__(
        self, model: MemoryModel | None = None, identity: Callable[[], Hashable] | None = None
    ) -> None:
        self.trace = Trace(identity)
        super().__init__(Executor(), model, self.trace)

    def findings(self) -> Findings:
        """What the trace so far shows."""
        return check(tuple(self.trace.entries))

    def races(self) -> tuple[Race, ...]:
        """Conflicting accesses that nothing orders."""
        return self.findings().races

    def assert_ordered(self) -> None:
        """Raise AssertionError with both places of every race."""
        races = self.races()
        if races:
            lines = "\n".join(f"  {race}" for race in races[:10])
            raise AssertionError(f"{len(races)} unordered accesses:\n{lines}")
