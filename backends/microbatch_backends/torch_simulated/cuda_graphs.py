"""Graphs of the stand-in for `torch.cuda`.

Invariant: a capture takes what is launched on its streams, whoever launches it. A replay launches the first
stream's work on the current stream and that of the others on streams of the graph's own, with the waits that
were captured and no others. Nothing of a capture runs before a replay.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

from microbatch.testing.simulated.capture import Capture, CaptureRefusedError
from microbatch.testing.simulated.framework import ReplayedGraph
from microbatch.testing.simulated.graphs import begin_capture, end_capture
from microbatch_backends.torch_simulated.cuda_streams import Stream, StreamBlock, as_cuda
from microbatch_backends.torch_simulated.simulated import TorchStreams


class CUDAGraph:
    """A graph; `capture_begin` and `capture_end` on one thread, then `replay`."""

    def __init__(self, device: TorchStreams, numbers: itertools.count[int]) -> None:
        self._device = device
        self._number = next(numbers)
        self._capture: Capture | None = None
        self._replayed: ReplayedGraph | None = None

    def capture_begin(self, pool: object = None, capture_error_mode: str = "global") -> None:
        """What the current stream is given from now on is captured."""
        device, stream = self._device, self._device.current()
        with as_cuda():
            device.refuse_in_capture("begin another capture")
        if stream.purpose == "default":
            raise RuntimeError("CUDA graphs must be captured on a non-default stream.")
        self._capture = begin_capture(device, stream, object() if pool is None else pool)

    def capture_end(self) -> None:
        """End the capture; RuntimeError where a stream was not joined to the first one."""
        capture, device = self._capture, self._device
        if capture is None or not capture.open:
            raise RuntimeError("capture_end was called, and nothing was being captured")
        try:
            end_capture(device, capture)
        except CaptureRefusedError as error:
            raise RuntimeError(f"CUDA error: capturing stream has unjoined work ({error})") from error
        if not any(call.launch is not None for call in capture.calls):
            warnings.warn("The CUDA Graph is empty. Nothing was launched on its streams.", stacklevel=2)
        self._replayed = ReplayedGraph(device, capture, self._number)

    def replay(self) -> None:
        """Launch what was captured on the current stream."""
        if self._replayed is None:
            raise RuntimeError("Called CUDAGraph::replay without a preceding successful capture.")
        with as_cuda():
            self._replayed.replay()

    def reset(self) -> None:
        """Forget what was captured."""
        self._replayed = self._capture = None

    def pool(self) -> object:
        """The memory pool of the capture."""
        return None if self._capture is None else self._capture.pool


class graph:
    """`with torch.cuda.graph(g):` captures into `g`, on a stream of its own unless one is given."""

    def __init__(
        self, cuda: Any, cuda_graph: CUDAGraph, pool: object = None, stream: Stream | None = None,
        capture_error_mode: str = "global",
    ) -> None:  # fmt: skip
        self._graph, self._pool = cuda_graph, pool
        self._cuda = cuda
        self._block = StreamBlock(cuda.Stream() if stream is None else stream)

    def __enter__(self) -> None:
        self._cuda.synchronize()
        self._block.__enter__()
        self._graph.capture_begin(self._pool)

    def __exit__(self, *exc_info: object) -> None:
        try:
            self._graph.capture_end()
        finally:
            self._block.__exit__()
