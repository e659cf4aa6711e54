"""Capturing a step as a CUDA graph, and replaying it.

Invariant: whatever happens inside, the capture is ended on the thread that began it, and the first error is
the one that is raised. Captures are `thread_local`: in the `global` mode a pinned allocation or an event
query on any other thread breaks them. The work runs once before it is captured, on the streams and threads of
the capture, so that BLAS handles, workspaces and plans exist.

Rejected: `torch.cuda.graph`, which waits for the whole device and empties the cache of everybody at each
capture.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from microbatch_backends.device.capture import CaptureLanes, Draw, one_capture
from microbatch_backends.torch_device.device_module import DeviceModule


class GraphPool:
    """Memory that graphs replayed one after the other may share; new memory after a broken capture."""

    __slots__ = ("_module", "handle")

    def __init__(self, module: DeviceModule) -> None:
        self._module = module
        self.renew()

    def renew(self) -> None:
        """Let later captures begin with memory of their own."""
        self.handle: Any = self._module.graph_pool()
        """What torch calls the memory pool."""


@dataclass(slots=True)
class DeviceGraph:
    """A captured step; holds its streams and pool as long as it lives."""

    _graph: Any
    _lanes: CaptureLanes
    _bytes: int

    def replay(self) -> None:
        """Launch the captured work on the current stream."""
        self._graph.replay()

    def bytes_held(self) -> int:
        """Bytes its private pool took at capture; 0 with a shared pool."""
        return self._bytes


def capture(
    module: DeviceModule, work: Callable[[], Any], pool: object | None, draw: Draw
) -> tuple[DeviceGraph, Any]:
    """Run `work`, then capture it, after the current stream's work; (graph, what the captured call returned).

    Later work of the current stream waits for the first run, which reads what a replay will be given.
    """
    index = module.index()

    def captured(lanes: CaptureLanes) -> tuple[DeviceGraph, Any]:
        caller = module.current_stream()
        lanes.first.wait_stream(caller)
        with module.activate(lanes.first, index):
            module.prepare_capture()
            work()
            caller.wait_stream(lanes.first)
            before = _reserved(module, index)
            graph, into = module.new_graph(), pool if isinstance(pool, GraphPool) else GraphPool(module)
            with _capturing(module, graph, into):
                result = work()
        held = 0 if pool is not None else max(0, _reserved(module, index) - before)
        return DeviceGraph(graph, lanes, held), result

    return one_capture(module, draw, captured)


@contextmanager
def _capturing(module: DeviceModule, graph: Any, pool: GraphPool) -> Iterator[None]:
    """Begin the capture, and end it whatever happens; RuntimeError where nothing was captured.

    After an error of the work, ending the capture fails too; that error says less and is dropped.
    """
    graph.capture_begin(pool=pool.handle, capture_error_mode="thread_local")
    try:
        yield
    except BaseException:
        with suppress(RuntimeError), _repaired(module, pool):
            graph.capture_end()
        raise
    with _repaired(module, pool):
        told = _end(graph)
    if any("graph is empty" in str(warning.message).casefold() for warning in told):
        raise RuntimeError("nothing was launched on the stream of the capture: the CUDA graph is empty")


def _end(graph: Any) -> list[warnings.WarningMessage]:
    """End a capture; returns what torch warned of meanwhile.

    torch warns of an empty graph before it has ended the capture. Where the user has made warnings errors,
    that warning would leave the capture half ended, so it is recorded instead.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graph.capture_end()
    return told


@contextmanager
def _repaired(module: DeviceModule, pool: GraphPool) -> Iterator[None]:
    """Where ending a capture fails, undo what torch leaves switched on, and raise the error.

    Two things stay switched on, seen with torch 2.11 on an H200. The allocator goes on recording for the
    pool: it frees no cached memory any more, and refuses the pool to the next capture. The random generator
    goes on counting for the graph: every random number that the process draws on the device afterwards is an
    error. Only a capture that ends well resets the generator, hence the small one here.
    """
    try:
        yield
    except RuntimeError:
        module.end_allocation(module.index(), pool.handle)
        pool.renew()
        with suppress(RuntimeError):
            written, graph = module.scratch(), module.new_graph()
            graph.capture_begin(capture_error_mode="thread_local")
            written.zero_()
            graph.capture_end()
        raise


def _reserved(module: DeviceModule, index: int) -> int:
    return int(module.statistics(index).get("reserved_bytes.all.current", 0))
