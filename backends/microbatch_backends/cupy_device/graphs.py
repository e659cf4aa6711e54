"""Capturing a step as a CUDA graph with CuPy, and replaying it.

Invariant: a graph owns the memory pool its work was captured with. CuPy has no pool private to a graph, so arrays freed
inside a capture would be handed to others while the graph still writes there. Work runs once under that pool before the
capture, on the capture's own streams: a thread-local capture may not ask the driver for memory, and then need not. The
pool is set for the capturing thread, so what other threads allocate would not be the graph's: ubatches on threads are
not captured, those on greenlets are.

CuPy refuses cuBLAS, cuSOLVER, cuRAND and cuSPARSE inside a capture, so a matrix product cannot be captured; that is
told from a wrong function by its text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any

from microbatch_backends.cupy_device.namespace import CupyNamespace
from microbatch_backends.cupy_device.streams import CupyStream

__all__ = ["LANES", "CupyGraph", "Lanes", "capture", "capture_refused"]

REFUSALS = (
    "during stream capture",
    "stream is capturing",
    "is capturing, so synchronous",
    "cudaerrorstreamcapture",
)
"""Texts that say "this cannot be captured"; it can then still be run as it is."""
REFUSAL_CODES = range(900, 909)
"""cudaErrorStreamCaptureUnsupported (900) to cudaErrorStreamCaptureWrongThread (908)."""


class Lanes:
    """The streams of one capture; CuPy makes each anew, so eager work has none of them."""

    __slots__ = ("_lanes", "first", "namespace")

    def __init__(self, namespace: CupyNamespace) -> None:
        self.namespace = namespace
        self._lanes: dict[tuple[str, int], CupyStream] = {}
        self.first: Any = namespace.new_stream(0)
        """Where the capture begins and ends."""

    def of(self, purpose: str, priority: int) -> CupyStream:
        """The stream for `purpose` and `priority`, the same each time."""
        found = self._lanes.get((purpose, priority))
        if found is None:
            namespace = self.namespace
            found = CupyStream(namespace, namespace.new_stream(priority), namespace.index(), purpose)
            self._lanes[purpose, priority] = found
        return found

    def pairs(self, count: int, urgent: int) -> list[tuple[CupyStream, CupyStream]]:
        """Pairs for the ubatches of a captured step, the same each time."""
        return [
            (self.of(f"compute {number}", 0), self.of(f"communication {number}", urgent))
            for number in range(count)
        ]


LANES: ContextVar[Lanes | None] = ContextVar("microbatch_cupy_capture_lanes", default=None)
"""The capture that the calling code is part of."""


class CupyGraph:
    """A captured step, with its streams and the pool of its arrays."""

    __slots__ = ("_graph", "_lanes", "_namespace", "_pool")

    def __init__(self, namespace: CupyNamespace, graph: Any, lanes: Lanes, pool: Any) -> None:
        self._namespace = namespace
        self._graph = graph
        self._lanes = lanes
        self._pool = pool

    def replay(self) -> None:
        """Launch the captured work on the current stream."""
        self._graph.launch(self._namespace.current_stream())

    def bytes_held(self) -> int:
        """Bytes of the pool this graph owns."""
        return int(self._pool.total_bytes())


def capture(namespace: CupyNamespace, work: Callable[[], Any]) -> tuple[CupyGraph, Any]:
    """Capture `work`, after running it once; returns the graph and what `work` returned inside the capture."""
    pool = namespace.cuda.MemoryPool()
    with _capture_lock():
        lanes, before = Lanes(namespace), namespace.new_event()
        before.record(namespace.current_stream())
        lanes.first.wait_event(before)
        token = LANES.set(lanes)
        try:
            with namespace.activate(lanes.first, namespace.index()), namespace.using_allocator(pool.malloc):
                work()
                lanes.first.synchronize()
                graph, result = _captured(namespace, lanes.first, work)
        finally:
            LANES.reset(token)
    return CupyGraph(namespace, graph, lanes, pool), result


def capture_refused(error: BaseException) -> bool:
    """Whether `error`, or what it came from, says that the work cannot be captured."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        text = str(link).casefold()
        if getattr(link, "status", None) in REFUSAL_CODES or any(phrase in text for phrase in REFUSALS):
            return True
        link = link.__cause__ or link.__context__
    return False


def _captured(namespace: CupyNamespace, stream: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
    """Begin, work, end; a broken capture is ended too, and its end says less than the cause."""
    stream.begin_capture(mode=namespace.runtime.streamCaptureModeThreadLocal)
    try:
        result = work()
    except BaseException:
        try:
            stream.end_capture()
        except RuntimeError:
            pass
        raise
    return stream.end_capture(), result


@cache
def _capture_lock() -> threading.RLock:
    """Of the process: CuPy's captures are not safe beside each other."""
    return threading.RLock()
