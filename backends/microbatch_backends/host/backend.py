"""NumPy, and anything with shape, dtype and slices on the host.

Invariant: arrays compute where they are called; only what is submitted to a stream runs beside the caller, on that
stream's own thread. There is one memory, so staging buffers are plain arrays and a transfer is a copy.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from microbatch.errors import WaitTimeoutError
from microbatch.extend.protocols import Stream, StreamPurpose, ThreadState
from microbatch.extend.records import FailureKind, MemoryReading
from microbatch.host.proc import processor_name
from microbatch_backends.failures.classify import classify
from microbatch_backends.host import arrays as rows
from microbatch_backends.host.events import HostEvent
from microbatch_backends.host.limits import process_blas_limit
from microbatch_backends.host.memory import HostMemory
from microbatch_backends.host.peak import HostPeak
from microbatch_backends.host.state import HostState
from microbatch_backends.host.streams import HostStream, HostStreams

__all__ = ["CpuBackend"]


class CpuBackend:
    """The `cpu` backend; `memory` is there for tests."""

    name: str = "cpu"
    asynchronous: bool = False
    parallel: bool = True

    def __init__(self, memory: HostMemory | None = None) -> None:
        self._memory = memory or HostMemory()
        self._streams = HostStreams(HostState)
        self._blas = process_blas_limit()

    def stream(self, purpose: StreamPurpose) -> HostStream:
        """The queue for `purpose`; its thread starts with the first submit and ends after a second without work."""
        return self._streams.of(purpose)

    def current_stream(self) -> Stream:
        """The stream that is active in the calling thread, else one on which everything is done on return."""
        return self._streams.current()

    def event(self) -> HostEvent:
        """A new event."""
        return HostEvent()

    def memory(self) -> MemoryReading:
        """Memory of this process, within host, control groups and resource limits; at most 10 ms old."""
        return self._memory.read()

    def device_name(self) -> str:
        """The processor, and how many of its cores this process may use."""
        return processor_name()

    def peak_mark(self) -> HostPeak | None:
        """Start measuring the most memory in use from now on; None where the system cannot tell."""
        return self._memory.peak_mark()

    def owns(self, array: object) -> bool:
        """Whether `array` is on the host and of no framework with a backend of its own."""
        return rows.is_host_array(array)

    def empty(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised array of the class, dtype and axis order of `like`."""
        return rows.empty(shape, like)

    def copy(self, destination: Any, source: Any) -> None:
        """Write `source` into `destination`; TypeError where that would convert values."""
        rows.copy(destination, source)

    def concatenate(self, parts: Sequence[Any], axis: int) -> Any:
        """Join `parts` along `axis`."""
        return rows.concatenate(parts, axis)

    def take(self, array: Any, indices: Sequence[int], axis: int) -> Any:
        """Rows of `array` at `indices` along `axis`, as a new array."""
        return rows.take(array, indices, axis)

    def scatter(self, destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
        """Write rows of `source` to `destination` at `indices` along `axis`."""
        rows.scatter(destination, indices, source, axis)

    def differentiable(self, arrays: Sequence[Any]) -> bool:
        """Never: NumPy records nothing."""
        return False

    def unsupported(self, array: Any) -> str | None:
        """Why rows of `array` cannot be cut, or None."""
        return rows.unsupported(array)

    def classify(self, error: BaseException) -> FailureKind:
        """What `error` and its chain mean for retrying."""
        return classify(error)

    def reclaim(self) -> None:
        """Collect garbage; NumPy keeps no pool."""
        gc.collect()

    def thread_state(self) -> ThreadState:
        """Context variables of the calling thread, NumPy's error state among them (0.2 us)."""
        return HostState()

    @contextmanager
    def parallel_limits(self, workers: int) -> Iterator[None]:
        """BLAS threads shared out among `workers`; needs threadpoolctl, else BLAS keeps its threads."""
        threads = _torch_threads()
        with self._blas.hold(workers), threads.hold() if threads else nullcontext():
            yield

    def worker_limits(self, workers: int) -> AbstractContextManager[None]:
        """The share of torch's threads, where it is loaded: NumPy has none of its own, but a function of arrays or
        texts may compute with torch inside, and 2 workers of 2 threads on 2 cores take 1.3 times as long."""
        threads = _torch_threads()
        return threads.share(workers) if threads else nullcontext()

    def staging(self, shape: Sequence[int], like: Any) -> Any:
        """A buffer for copies; plain memory."""
        return rows.empty(shape, like)

    def to_device(self, destination: Any, source: Any) -> None:
        """Copy; inside `stream.submit` it runs beside the caller."""
        rows.copy(destination, source)

    def to_host(self, destination: Any, source: Any) -> None:
        """Copy; inside `stream.submit` it runs beside the caller."""
        rows.copy(destination, source)

    def empty_device(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised array; host and device are one memory here."""
        return rows.empty(shape, like)

    def close(self, timeout: float | None = 5.0) -> None:
        """End the threads of all streams after their work; a later submit starts them again."""
        late = self._streams.close(timeout)
        if late:
            raise WaitTimeoutError(
                f"work on {', '.join(late)} was still running after {timeout} s;"
                " wait for the streams before closing the backend"
            )


def _torch_threads() -> Any:
    """What shares out torch's intra-op threads; None where nobody has imported torch."""
    if "torch" not in sys.modules:
        return None
    from microbatch_backends.torch_device.limits import process_torch_threads

    return process_torch_threads()
