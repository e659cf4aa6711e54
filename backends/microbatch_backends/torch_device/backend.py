"""What torch backends share, and the one for tensors on the CPU.

Invariant: everything here works on any device; what differs (streams, memory, place of a thread) is given by the
subclass. `torch-cpu` computes where it is called, as NumPy does, and shares the host queues of the `cpu` backend.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from microbatch.errors import WaitTimeoutError
from microbatch.extend.protocols import Stream, StreamPurpose, ThreadState
from microbatch.extend.records import FailureKind, MemoryReading
from microbatch.host.proc import processor_name
from microbatch_backends.failures.classify import classify
from microbatch_backends.host.events import HostEvent
from microbatch_backends.host.limits import process_blas_limit
from microbatch_backends.host.memory import HostMemory
from microbatch_backends.host.peak import HostPeak
from microbatch_backends.host.streams import HostStream, HostStreams
from microbatch_backends.torch_device import arrays as rows
from microbatch_backends.torch_device.limits import process_torch_threads
from microbatch_backends.torch_device.modes import autocast_types
from microbatch_backends.torch_device.state import TorchState, mode_depth

__all__ = ["TorchArrays", "TorchCpuBackend"]


class TorchArrays:
    """Tensors, failures and process groups: the same on every device."""

    def empty(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised tensor with class, dtype, device and memory format of `like`."""
        return rows.empty(shape, like)

    def copy(self, destination: Any, source: Any) -> None:
        """Write `source` into `destination` outside autograd, on the current stream."""
        rows.copy(destination, source)

    def concatenate(self, parts: Sequence[Any], axis: int) -> Any:
        """Join `parts` along `axis`; autograd sees it."""
        return rows.concatenate(parts, axis)

    def take(self, array: Any, indices: Sequence[int], axis: int) -> Any:
        """Rows at `indices` along `axis`, as a new tensor; autograd sees it."""
        return rows.take(array, indices, axis)

    def scatter(self, destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
        """Write rows of `source` to `destination` at `indices` along `axis`, outside autograd."""
        rows.scatter(destination, indices, source, axis)

    def differentiable(self, arrays: Sequence[Any]) -> bool:
        """Whether autograd or a transform would record an operation on any of them now."""
        return rows.differentiable(arrays)

    def unsupported(self, array: Any) -> str | None:
        """Why rows of `array` cannot be cut (sparse, nested, quantised, distributed), or None."""
        return rows.unsupported(array)

    def classify(self, error: BaseException) -> FailureKind:
        """What `error` and its chain mean for retrying."""
        return classify(error)

    def mode_depth(self) -> object:
        """Lengths of the mode stacks that cannot be parked at a yield."""
        return mode_depth()

    def in_process_group(self) -> bool:
        """Whether torch.distributed runs more than one rank."""
        distributed = torch.distributed
        return (
            distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1
        )


class TorchCpuBackend(TorchArrays):
    """The `torch-cpu` backend; `memory` is there for tests."""

    name: str = "torch-cpu"
    asynchronous: bool = False
    parallel: bool = True

    def __init__(self, memory: HostMemory | None = None) -> None:
        self._memory = memory or HostMemory()
        self._types = autocast_types("cpu")
        self._streams = HostStreams(self.thread_state)
        self._blas = process_blas_limit()
        self._threads = process_torch_threads()

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
        """Whether `array` is a tensor on the CPU."""
        return isinstance(array, torch.Tensor) and array.is_cpu

    def reclaim(self) -> None:
        """Collect garbage; torch keeps no pool on the CPU."""
        gc.collect()

    def thread_state(self) -> ThreadState:
        """Modes (grad, inference, autocast, default device, user modes) and context variables of this thread."""
        return TorchState(self._types)

    @contextmanager
    def parallel_limits(self, workers: int) -> Iterator[None]:
        """BLAS threads shared out among `workers`, and torch's own number kept for afterwards."""
        with self._blas.hold(workers), self._threads.hold():
            yield

    def worker_limits(self, workers: int) -> AbstractContextManager[None]:
        """The calling thread's share of torch's intra-op threads."""
        return self._threads.share(workers)

    def close(self, timeout: float | None = 5.0) -> None:
        """End the threads of all streams after their work; a later submit starts them again."""
        late = self._streams.close(timeout)
        if late:
            raise WaitTimeoutError(
                f"work on {', '.join(late)} was still running after {timeout} s;"
                " wait for the streams before closing the backend"
            )
