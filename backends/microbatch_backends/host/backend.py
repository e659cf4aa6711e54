"""The base of backends that compute on the host, and the backend for NumPy and anything else sliceable there.

Invariant: arrays compute where they are called; only what is submitted to a stream runs beside the caller, on
that stream's own thread. There is one memory, so on `cpu` a staging buffer is a plain array and a transfer is
a copy. Each streamed step has streams of its own: on streams that steps share, a step inside a stage of
another would wait for work behind that stage, for ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from microbatch.errors import WaitTimeoutError
from microbatch.extend.protocols import Pipe, Stream, StreamPurpose, ThreadState
from microbatch.extend.records import MemoryReading
from microbatch.host.forks import FORKS
from microbatch.host.proc import processor_name
from microbatch.turns.runtime import Runtime, default_runtime
from microbatch_backends.failures.classify import classify
from microbatch_backends.host import arrays
from microbatch_backends.host.blas import process_blas_limit
from microbatch_backends.host.events import HostEvent
from microbatch_backends.host.limits import Together
from microbatch_backends.host.memory import HostMemory
from microbatch_backends.host.peak import HostPeak
from microbatch_backends.host.pipes import Pipes
from microbatch_backends.host.queues import WorkQueue
from microbatch_backends.host.state import HostState
from microbatch_backends.host.streams import CallerStream, Current, HostStream
from microbatch_backends.ranks import RanksOfProcess


class HostBackend(RanksOfProcess):
    """Queues, memory, threads and failures of the host; a subclass adds its name and its arrays.

    `capture_state` takes a snapshot of what the subclass's framework keeps for the calling thread. The thread
    of a stream ends after `idle` seconds without work.
    """

    asynchronous: bool = False
    parallel: bool = True

    def __init__(
        self,
        capture_state: Callable[[], ThreadState],
        memory: HostMemory | None = None,
        idle: float = 1.0,
        runtime: Runtime | None = None,
    ) -> None:
        self._capture_state = capture_state
        self._memory = memory or HostMemory()
        self._idle = idle
        self._runtime = runtime or default_runtime()
        self._current = Current()
        self._caller = CallerStream("compute", self._current, capture_state, self._queue("compute"))
        self._streams: dict[str, HostStream] = {}
        self._pipes = Pipes(self._new_stream)

    classify = staticmethod(classify)
    event = HostEvent
    device_name = staticmethod(processor_name)

    def stream(self, purpose: StreamPurpose) -> HostStream:
        """The queue for `purpose`, whose thread starts with the first submit; the same object each time."""
        stream = self._streams.get(purpose)
        if stream is None:  # of two threads that ask first, the later one gets the other's stream
            stream = self._streams.setdefault(purpose, self._new_stream(purpose))
        return stream

    def pipe(self) -> AbstractContextManager[Pipe]:
        """Streams for one streamed step, which no other step has meanwhile."""
        return self._pipes.lend()

    def current_stream(self) -> Stream:
        """The stream that is active in the calling thread, else one on which everything is done on return."""
        return self._current.stream or self._caller

    def peak_mark(self) -> HostPeak | None:
        """Start measuring the most memory in use from now on; None where the system cannot tell."""
        return self._memory.peak_mark()

    def memory(self) -> MemoryReading:
        """Memory of this process, within host, control groups and resource limits; at most 10 ms old."""
        last = self._memory.last
        if last is not None and last[0] <= self._memory.clock() < last[1] and last[3] == FORKS.count:
            return last[2]
        return self._memory.read()

    def reclaim(self) -> None:
        """Nothing: neither NumPy nor torch keeps a pool on the host."""

    def thread_state(self) -> ThreadState:
        """What Python, NumPy and the subclass's framework keep for the calling thread, and JAX, where it is
        loaded."""
        state = self._capture_state()
        if "jax" not in sys.modules:
            return state
        from microbatch_backends.jax_device.state import JaxState

        return JaxState(state)

    def awaiting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, or where JAX is loaded one that waits for the arrays of JAX that it returns.

        A function of NumPy arrays or texts may compute with JAX inside.
        """
        if "jax" not in sys.modules:
            return function
        from microbatch_backends.jax_device.dispatch import Awaited

        return Awaited(function)

    def trial(self) -> AbstractContextManager[Callable[[], bool]]:
        """Calls inside record no gradients, and torch's random numbers are put back, where torch is loaded.

        A function of NumPy arrays or texts may compute with torch inside.
        """
        if "torch" not in sys.modules:
            return nullcontext(_nothing_drawn)
        from microbatch_backends.torch_device.trials import Trial

        return Trial()

    def parallel_limits(self, workers: int) -> AbstractContextManager[None]:
        """BLAS threads shared out among `workers`, and torch's own number kept for afterwards."""
        blas, torch_threads = process_blas_limit().hold(workers), _torch_threads()
        return Together(blas, torch_threads.hold(workers)) if torch_threads else blas

    def worker_limits(self, workers: int) -> AbstractContextManager[None]:
        """The calling thread's share of torch's intra-op threads, where torch is loaded, and of a BLAS that
        counts for each thread.

        A function of NumPy arrays or texts may compute with torch inside. With 2 workers of 2 threads each on
        2 cores that took 1.3 times as long.
        """
        blas, torch_threads = process_blas_limit().share(workers), _torch_threads()
        return Together(blas, torch_threads.share(workers)) if torch_threads else blas

    def close(self, timeout: float | None = 5.0) -> None:
        """End the threads of all streams after their work; a later submit starts them again.

        The streams of a streamed step that is running are left alone: their threads end after it.
        """
        streams = [*self._streams.values(), *self._pipes.free()]
        late = [stream.purpose for stream in streams if not stream.stop(timeout)]
        if late:
            raise WaitTimeoutError(
                f"work on {', '.join(late)} was still running after {timeout} s;"
                " wait for the streams before closing the backend"
            )

    def _new_stream(self, purpose: StreamPurpose) -> HostStream:
        return HostStream(purpose, self._current, self._capture_state, self._queue(purpose))

    def _queue(self, purpose: StreamPurpose) -> WorkQueue:
        return WorkQueue(f"microbatch-{purpose}", self._runtime, self._idle)


class CpuBackend(HostBackend):
    """The `cpu` backend; `memory` is there for tests.

    The functions on arrays are members as they are: a step calls them often, and a method would add a frame
    to each call.
    """

    name: str = "cpu"

    def __init__(self, memory: HostMemory | None = None) -> None:
        super().__init__(_state_here, memory)

    owns = staticmethod(arrays.is_host_array)
    empty = staticmethod(arrays.empty)
    copy = staticmethod(arrays.copy)
    concatenate = staticmethod(arrays.concatenate)
    take = staticmethod(arrays.take)
    scatter = staticmethod(arrays.scatter)
    differentiable = staticmethod(arrays.differentiable)
    unsupported = staticmethod(arrays.unsupported)
    staging = staticmethod(arrays.empty)
    to_device = staticmethod(arrays.copy)
    to_host = staticmethod(arrays.copy)
    empty_device = staticmethod(arrays.empty)


def _state_here() -> ThreadState:
    """What the calling thread keeps; torch's modes too, where somebody has imported it.

    A function of NumPy arrays or texts may compute with torch inside.
    """
    if "torch" not in sys.modules:
        return HostState()
    from microbatch_backends.torch_device.state import TorchState

    return TorchState(("cpu",))


def _nothing_drawn() -> bool:
    return False


def _torch_threads() -> Any:
    """What shares out torch's intra-op threads; None where nobody has imported torch."""
    if "torch" not in sys.modules:
        return None
    from microbatch_backends.torch_device.limits import process_torch_threads

    return process_torch_threads()
