"""A second opinion on traces: an explicit graph and reachability, without any vector clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from microbatch.testing.recording.trace import Access, TraceEntry

ENQUEUED = ("launch", "alloc", "record", "wait")


class Graph:
    """Nodes in the order they are made; `before[n]` is the set of nodes that lead to n, as bits."""

    def __init__(self) -> None:
        self.before: list[int] = []
        self.last: dict[tuple[str, object], int] = {}
        self.records: dict[object, int] = {}
        self.signals: dict[object, list[int]] = {}

    def node(self, agent: tuple[str, object], *others: int | None) -> int:
        known = 0
        for other in (self.last.get(agent), *others):
            if other is not None:
                known |= self.before[other] | 1 << other
        self.before.append(known)
        self.last[agent] = len(self.before) - 1
        return self.last[agent]

    def add(self, entry: TraceEntry) -> int:
        """The node at which the entry touches memory."""
        host, stream = ("host", entry.thread), ("stream", entry.stream)
        if entry.kind in ENQUEUED:
            call = self.node(host)
            event = self.records.get(entry.token) if entry.kind == "wait" else None
            node = self.node(stream, call, event)
            if entry.kind == "record":
                self.records[entry.token] = node
            return node
        others: list[int | None] = []
        if entry.kind == "sync_event":
            others.append(self.records.get(entry.token))
        elif entry.kind == "sync_stream":
            others.append(self.last.get(stream))
        elif entry.kind == "sync_device":
            others += [node for (kind, _), node in self.last.items() if kind == "stream"]
        elif entry.kind == "wait_host":
            others += self.signals.get(entry.token, [])
        node = self.node(host, *others)
        if entry.kind == "signal":
            self.signals.setdefault(entry.token, []).append(node)
        return node


def _first_race(entries: Sequence[TraceEntry]) -> int | None:
    graph, nodes = Graph(), []
    for index, entry in enumerate(entries):
        node = graph.add(entry)
        for earlier, where in enumerate(nodes):
            if not graph.before[node] >> where & 1 and _conflict(entries[earlier], entry):
                return index
        nodes.append(node)
    return None


def _conflict(one: TraceEntry, other: TraceEntry) -> bool:
    return any(
        a.block == b.block and (a.write or b.write) and a.low < b.high and b.low < a.high
        for a in one.accesses
        for b in other.accesses
    )


def _random_trace(
    seed: int, threads: int = 3, streams: int = 3, blocks: int = 2, whole: bool = False
) -> list[TraceEntry]:
    """Like `strategies.traces`, 50 times as fast; `whole` touches whole blocks only."""
    draw = random.Random(seed)
    entries = []
    kinds = ["launch"] * 5 + ["record"] * 2 + ["wait"] * 2 + ["sync_stream", "sync_event", "sync_device"]
    kinds += [] if threads == 1 else ["host", "signal", "signal", "wait_host", "wait_host"]
    for _ in range(draw.randint(2, 14)):
        kind = draw.choice(kinds)
        accesses = []
        if kind in ("launch", "host"):
            for block in draw.sample(range(blocks), draw.randint(1, blocks)):
                low = 0 if whole else draw.randrange(8)
                high = 8 if whole else draw.randint(low + 1, 8)
                accesses.append(Access(block, low, high, draw.random() < 0.4))
        stream = draw.randrange(streams) if kind in (*ENQUEUED, "sync_stream") else None
        token = draw.randrange(2) if kind in ("record", "wait", "sync_event", "signal", "wait_host") else None
        thread = draw.randrange(threads)
        entries.append(TraceEntry(kind, thread, stream, token, tuple(accesses)))  # type: ignore[arg-type]
    return entries


@pytest.fixture(scope="session")
def first_race() -> Callable[[Sequence[TraceEntry]], int | None]:
    """Index of the first entry with a conflict that no path of the graph orders, None without one."""
    return _first_race


@pytest.fixture(scope="session")
def random_trace() -> Callable[..., list[TraceEntry]]:
    """random_trace(seed, threads, streams, blocks, whole) -> entries."""
    return _random_trace
