"""When launched work runs.

Invariant: work of one stream runs in the order of its launches; work of two streams is ordered by marks only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(slots=True, eq=False)
class Mark:
    """A point in the work of a stream."""

    done: bool = False
    """Whether the work before it has run."""
    error: BaseException | None = None
    """The error of that work."""


class Executor:
    """Runs work when it is launched: the order of the host, which is one legal order."""

    def launch(self, stream: int, work: Work) -> None:
        """Put `work` behind what was launched on `stream`."""
        work()

    def mark(self, stream: int) -> Mark:
        """A point behind all that was launched on `stream` so far."""
        return Mark(done=True)

    def wait(self, stream: int, mark: Mark) -> None:
        """Keep what is launched on `stream` later behind `mark`."""

    def poll(self, mark: Mark) -> bool:
        """Whether `mark` has been reached; asking again and again makes it so."""
        return True

    def finish(self, mark: Mark) -> None:
        """Run what must run to reach `mark`; raises the error of the work before it."""
