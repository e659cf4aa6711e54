"""Capturing a step as a CUDA graph with CuPy, and replaying it.

Invariant: a graph owns the memory pool its work was captured with. CuPy has no pool private to a graph, so
arrays freed inside a capture would be handed to others while the graph still writes there. A thread-local
capture may not ask the driver for memory. The work therefore runs once before it is captured, with that pool
and on the capture's streams; the pool then has all the memory that the capture needs.

The pool is set for the capturing thread alone, so what other threads allocate would not be the graph's. That
is why ubatches on threads are not captured; ubatches on greenlets are.

CuPy refuses cuBLAS, cuSOLVER, cuRAND and cuSPARSE inside a capture, so a matrix product cannot be captured.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from microbatch_backends.cupy_device.namespace import CupyNamespace
from microbatch_backends.device.capture import CaptureLanes, Draw, one_capture


@dataclass(slots=True)
class CupyGraph:
    """A captured step, with its streams and the pool of its arrays."""

    _namespace: CupyNamespace
    _graph: Any
    _lanes: CaptureLanes
    _pool: Any

    def replay(self) -> None:
        """Launch the captured work on the current stream."""
        self._graph.launch(self._namespace.current_stream())

    def bytes_held(self) -> int:
        """Bytes of the pool this graph owns."""
        return int(self._pool.total_bytes())


def capture(namespace: CupyNamespace, work: Callable[[], Any], draw: Draw) -> tuple[CupyGraph, Any]:
    """Run `work`, then capture it; returns the graph and what `work` returned inside the capture."""
    pool, index = namespace.cuda.MemoryPool(), namespace.index()

    def captured(lanes: CaptureLanes) -> tuple[CupyGraph, Any]:
        before = namespace.new_event()
        before.record(namespace.current_stream())
        lanes.first.wait_event(before)
        with namespace.activate(lanes.first, index), namespace.cuda.using_allocator(pool.malloc):
            work()
            lanes.first.synchronize()
            graph, result = _captured(namespace, lanes.first, work)
        return CupyGraph(namespace, graph, lanes, pool), result

    return one_capture(namespace, draw, captured)


def _captured(namespace: CupyNamespace, stream: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
    """Begin a capture, work, end it; returns the graph and what `work` returned.

    After an error of the work, ending the capture fails too; that error says less and is dropped.
    """
    stream.begin_capture(mode=namespace.runtime.streamCaptureModeThreadLocal)
    try:
        result = work()
    except BaseException:
        with suppress(RuntimeError):
            stream.end_capture()
        raise
    return stream.end_capture(), result
