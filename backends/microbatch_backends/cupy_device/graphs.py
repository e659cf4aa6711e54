"""Capturing a step as a CUDA graph with CuPy, and replaying it.

Invariant: a graph owns the memory pool its work was captured with. CuPy has no pool private to a graph, so arrays freed
inside a capture would be handed to others while the graph still writes there. Work runs once under that pool before the
capture, on the capture's stream: a thread-local capture may not ask the driver for memory, and then need not.

CuPy refuses cuBLAS, cuSOLVER, cuRAND and cuSPARSE inside a capture, so a matrix product cannot be captured; that is
told from a wrong function by its text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import Any

from microbatch_backends.cupy_device.namespace import CupyNamespace

__all__ = ["CupyGraph", "capture", "capture_refused"]

REFUSALS = (
    "during stream capture",
    "stream is capturing",
    "is capturing, so synchronous",
    "cudaerrorstreamcapture",
)
"""Texts that say "this cannot be captured"; it can then still be run as it is."""
REFUSAL_CODES = range(900, 909)
"""cudaErrorStreamCaptureUnsupported (900) to cudaErrorStreamCaptureWrongThread (908)."""


class CupyGraph:
    """A captured step, with its stream and the pool of its arrays."""

    __slots__ = ("_graph", "_namespace", "_pool", "_stream")

    def __init__(self, namespace: CupyNamespace, graph: Any, stream: Any, pool: Any) -> None:
        self._namespace = namespace
        self._graph = graph
        self._stream = stream
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
    stream = namespace.new_stream(0)
    with _capture_lock():
        before = namespace.new_event()
        before.record(namespace.current_stream())
        stream.wait_event(before)
        with namespace.activate(stream, namespace.index()), namespace.using_allocator(pool.malloc):
            work()
            stream.synchronize()
            graph, result = _captured(namespace, stream, work)
    return CupyGraph(namespace, graph, stream, pool), result


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
