"""Capturing a step as a CUDA graph, and replaying it.

Invariant: one capture at a time in the process; whatever happens inside, the capture is ended on the thread that
began it and the first error is the one that is raised. Captures are `thread_local`: in the `global` mode a pinned
allocation or an event query on any other thread kills them. What is captured runs once before, on the very streams
and threads of the capture, so that BLAS handles, workspaces and plans exist.

All streams of a capture are its own, and no stream of eager work is ever among them: a capture takes whatever is
launched on its streams, by any thread. torch hands out streams from a ring of 32, so one that is in use eagerly is
drawn past. A graph keeps its streams for life: cuBLAS keeps a workspace for each, and resetting one graph would clear
the workspace of another that was captured on the same one.

Rejected: `torch.cuda.graph`, which waits for the whole device and empties the cache of everybody at each capture.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any

from microbatch.errors import StreamsExhaustedError
from microbatch_backends.torch_device.device_module import DeviceModule
from microbatch_backends.torch_device.streams import DeviceStream

__all__ = ["LANES", "DeviceGraph", "GraphPool", "Lanes", "capture", "capture_refused"]

REFUSALS = (
    "operation not permitted when stream is capturing",
    "operation not permitted on an event last recorded in a capturing stream",
    "operation failed due to a previous error during capture",
    "operation would make the legacy stream depend on a capturing blocking stream",
    "dependency created on uncaptured work in another stream",
    "capturing stream has unjoined work",
    "cudaerrorstreamcapture",
    "during cuda graph capture",
    "during graph capture",
    "cuda graph is empty",
)
"""Texts that say "this cannot be captured"; it can then still be run as it is."""

REFUSAL_CODES = range(900, 909)
"""cudaErrorStreamCaptureUnsupported (900) to cudaErrorStreamCaptureWrongThread (908)."""


class Lanes:
    """The streams of one capture. `fresh(priority, taken)` makes one that is none of `taken` and in no eager use."""

    __slots__ = ("_fresh", "_lanes", "first", "module")

    def __init__(self, module: DeviceModule, fresh: Callable[[int, list[Any]], Any]) -> None:
        self.module = module
        self._fresh = fresh
        self._lanes: dict[tuple[str, int], DeviceStream] = {}
        self.first: Any = fresh(0, [])
        """Where the capture begins and ends."""

    def of(self, purpose: str, priority: int) -> DeviceStream:
        """The stream for `purpose` and `priority`, the same each time."""
        found = self._lanes.get((purpose, priority))
        if found is None:
            taken = [self.first, *(lane.raw for lane in list(self._lanes.values()))]
            made = DeviceStream(self.module, self._fresh(priority, taken), purpose)
            found = self._lanes.setdefault((purpose, priority), made)
        return found

    def pairs(self, count: int, urgent: int) -> list[tuple[DeviceStream, DeviceStream]]:
        """Pairs for the ubatches of a captured step, the same each time."""
        return [
            (self.of(f"compute {number}", 0), self.of(f"communication {number}", urgent))
            for number in range(count)
        ]


LANES: ContextVar[Lanes | None] = ContextVar("microbatch_capture_lanes", default=None)
"""The capture that the calling code is part of; a context variable, so it goes into the threads of its ubatches."""


class GraphPool:
    """Memory that graphs replayed one after the other may share; another one after a capture that broke."""

    __slots__ = ("_module", "handle")

    def __init__(self, module: DeviceModule) -> None:
        self._module = module
        self.renew()

    def renew(self) -> None:
        """Let later captures begin with memory of their own."""
        self.handle: Any = self._module.graph_pool()


class DeviceGraph:
    """A captured step; holds its streams and pool as long as it lives."""

    __slots__ = ("_bytes", "_graph", "_lanes")

    def __init__(self, graph: Any, lanes: Lanes, held: int) -> None:
        self._graph = graph
        self._lanes = lanes
        self._bytes = held

    def replay(self) -> None:
        """Launch the captured work on the current stream."""
        self._graph.replay()

    def bytes_held(self) -> int:
        """Bytes its private pool took at capture; 0 with a shared pool."""
        return self._bytes


def capture(
    module: DeviceModule,
    work: Callable[[], Any],
    pool: object | None,
    fresh: Callable[[int, list[Any]], Any],
) -> tuple[DeviceGraph, Any]:
    """Run `work` and then capture it, after what the current stream holds; (graph, what the captured call returned).

    Later work of the current stream waits for the first run, which reads what a replay will be given.
    """
    index = module.index()
    with _one_at_a_time():
        lanes, caller = Lanes(module, fresh), module.current_stream()
        lanes.first.wait_stream(caller)
        with _inside(lanes), module.activate(lanes.first):
            module.prepare_capture()
            work()
            caller.wait_stream(lanes.first)
            before = _reserved(module, index)
            graph, into = module.new_graph(), pool if isinstance(pool, GraphPool) else GraphPool(module)
            with _capturing(module, graph, into):
                result = work()
        held = 0 if pool is not None else max(0, _reserved(module, index) - before)
    return DeviceGraph(graph, lanes, held), result


@contextmanager
def _inside(lanes: Lanes) -> Iterator[None]:
    token = LANES.set(lanes)
    try:
        yield
    finally:
        LANES.reset(token)


def capture_refused(error: BaseException) -> bool:
    """Whether `error`, or what it came from, says that the work cannot be captured."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        text = str(link).casefold()
        known = getattr(link, "error_code", None) in REFUSAL_CODES or isinstance(link, StreamsExhaustedError)
        if known or any(phrase in text for phrase in REFUSALS):
            return True
        link = link.__cause__ or link.__context__
    return False


@contextmanager
def _capturing(module: DeviceModule, graph: Any, pool: GraphPool) -> Iterator[None]:
    """Between begin and end of the capture; the end of a broken one fails too, and says less than the cause."""
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

    torch warns of an empty graph in the middle of ending. Where warnings are errors it would stay in the middle.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graph.capture_end()
    return told


@contextmanager
def _repaired(module: DeviceModule, pool: GraphPool) -> Iterator[None]:
    """Where ending a capture fails, put back what torch leaves as it was during the capture, and raise the error.

    Seen with torch 2.11 on an H200. The allocator goes on recording for the pool: it frees no cached memory any more,
    and refuses the pool to the next capture. The random generator goes on counting for the graph: each random number
    that the process draws on the device afterwards is an error. Only a capture that ends well resets the generator.
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


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    with _capture_lock():
        yield


@cache
def _capture_lock() -> threading.RLock:
    """Of the process, as the limit is the driver's: one capture at a time."""
    return threading.RLock()
