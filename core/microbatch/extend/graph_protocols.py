"""What a backend with graphs must be able to do; reached through `microbatch.extend.protocols`.

Invariant: optional as a whole: a backend without it runs every step, only uncaptured.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, runtime_checkable

__all__ = ["Graph", "SupportsGraphState", "SupportsGraphs", "SupportsThreadedCapture"]


@runtime_checkable
class Graph(Protocol):
    """A captured step."""

    def replay(self) -> None:
        """Launch the captured work on the current stream."""
        ...

    def bytes_held(self) -> int:
        """Device bytes this graph keeps alive beyond the shared pool."""
        ...


@runtime_checkable
class SupportsGraphs(Protocol):
    """Backends that can capture and replay."""

    def capture(self, work: Callable[[], Any], *, pool: object | None = None) -> tuple[Graph, Any]:
        """Call `work` twice: first to run, so that handles, plans and workspaces exist, then to capture what it
        launches. Returns the graph and what `work` returned the second time (static outputs, filled by a replay).

        Both calls are ordered after the current stream, later work of that after the first. What `stream(purpose)`
        answers inside `work` belongs to this capture alone, so eager work of other threads never gets into it.
        Raises what `work` raised, and for what cannot be captured an error that `capture_refused` knows; then all
        streams have left the capture.
        """
        ...

    def graph_pool(self) -> object | None:
        """A memory pool that graphs may share, or None where each has its own."""
        ...

    def capture_refused(self, error: BaseException) -> bool:
        """Whether `error` says that the work cannot be captured (so eager is right), not that it is wrong."""
        ...


@runtime_checkable
class SupportsGraphState(Protocol):
    """Backends whose thread has modes that decide which work a call launches."""

    def graph_state(self) -> Hashable:
        """A comparable value of those modes; a graph is replayed only under those it was captured with."""
        ...


@runtime_checkable
class SupportsThreadedCapture(Protocol):
    """Backends that say which threads a capture is of."""

    captures_threads: bool
    """Whether a capture holds what other threads launch on its streams, so that ubatches on threads can be captured."""
