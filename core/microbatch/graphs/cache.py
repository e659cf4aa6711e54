"""The graphs of one wrapper, least recently used ones dropped first.

Invariant: the bytes of all kept graphs never exceed the budget of the last `keep`; a graph is dropped only
after its last replay has finished. What cannot be captured is tried once, and its reason remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from microbatch.extend.abilities import Graph
from microbatch.graphs.key import GraphKey

MOST_REFUSED = 1024
"""Reasons remembered; the oldest goes first."""


@dataclass(slots=True)
class CapturedGraph:
    """One captured call, with the arrays it reads and writes."""

    graph: Graph
    """What is replayed."""
    inputs: list[Any]
    """Leaves of the arguments it was captured with; arrays among them are written before each replay."""
    outputs: list[Any]
    """Leaves of what it returned; the next replay overwrites them."""
    spec: Any
    """Structure of the outputs."""
    size: int
    """Bytes it keeps alive."""
    rows: dict[Hashable, tuple[bool, ...]] = field(default_factory=dict)
    """Numbers of real rows that were compared with the plain call, and which outputs have rows to trim."""


class GraphCache:
    """Graphs by key; `drain` waits until the last replay has finished."""

    def __init__(self, drain: Callable[[], object]) -> None:
        self._drain = drain
        self._entries: OrderedDict[GraphKey, CapturedGraph] = OrderedDict()
        self._refused: OrderedDict[GraphKey, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def held(self) -> int:
        """Bytes of all kept graphs."""
        return sum(graph.size for graph in self._entries.values())

    def find(self, key: GraphKey) -> CapturedGraph | None:
        """The graph of `key`, which becomes the most recently used."""
        graph = self._entries.get(key)
        if graph is not None:
            self._entries.move_to_end(key)
        return graph

    def keep(self, key: GraphKey, graph: CapturedGraph, budget: int) -> bool:
        """Keep `graph` and drop the oldest until all fit `budget` bytes; False if it alone does not."""
        if graph.size > budget:
            self._drain()
            self.refuse(key, f"its graph takes {graph.size} bytes, above the budget of {budget}")
            return False
        self._entries[key] = graph
        self._entries.move_to_end(key)
        if self.held > budget:
            self._drain()
            while self.held > budget:
                self._entries.popitem(last=False)
        return True

    def refuse(self, key: GraphKey, reason: str) -> None:
        """Remember that `key` is not to be captured."""
        self._entries.pop(key, None)
        self._refused[key] = reason
        if len(self._refused) > MOST_REFUSED:
            self._refused.popitem(last=False)

    def refused(self, key: GraphKey) -> str | None:
        """Why `key` is not captured, or None."""
        return self._refused.get(key)

    def clear(self) -> None:
        """Drop all graphs, to give their memory back."""
        if self._entries:
            self._drain()
            self._entries.clear()
