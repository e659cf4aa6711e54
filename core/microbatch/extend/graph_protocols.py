"""What a backend with graphs must be able to do; reached through `microbatch.extend.protocols`.

Invariant: optional as a whole: a backend without it runs every step, only uncaptured.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol, runtime_checkable

__all__ = ["Graph", "SupportsGraphState", "SupportsGraphs"]


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
        """Capture `work` on the current thread; returns the graph and what `work` returned (static outputs)."""
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
