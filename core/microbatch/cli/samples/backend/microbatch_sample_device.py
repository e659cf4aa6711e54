"""The backend, on NumPy. Put your library's calls in the place of NumPy's, one after another.

Invariant: everything is done when a call returns, so streams and events have nothing to wait for. A library
that queues its work needs real ones (`microbatch.extend.protocols` says what each must do), and then sets
`asynchronous = True`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from microbatch import FailureKind, MemoryReading
from microbatch_backends.host.state import HostState

__all__ = ["SampleBackend"]

BYTES = 1 << 32
"""Memory of the device. Ask your library."""


class Event:
    """A point in the work of a stream."""

    def record(self, stream: Any) -> None:
        """Mark what was submitted to `stream`."""

    def done(self) -> bool:
        """Whether that has finished."""
        return True

    def synchronize(self, timeout: float | None = None) -> bool:
        """Wait for it; False where `timeout` seconds were not enough."""
        return True


class Current(threading.local):
    """The stream that is active in each thread."""

    stream: Stream | None = None


class Stream:
    """An ordered queue of work."""

    def __init__(self, purpose: str, current: Current) -> None:
        self.purpose = purpose
        self._current = current

    def submit(self, work: Callable[[], object]) -> None:
        """Put `work` behind what was submitted before."""
        work()

    def wait(self, event: Event) -> None:
        """Order later work after `event`."""

    def synchronize(self, timeout: float | None = None) -> bool:
        """Wait for all that was submitted."""
        return True

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Make it the current stream of the calling thread, and put the former one back."""
        former, self._current.stream = self._current.stream, self
        try:
            yield
        finally:
            self._current.stream = former


class SampleBackend:
    """The backend."""

    name = "sample"
    asynchronous = False
    parallel = True

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._current = Current()

    def stream(self, purpose: str) -> Stream:
        """The stream for `purpose`, the same one each time."""
        return self._streams.setdefault(purpose, Stream(purpose, self._current))

    def current_stream(self) -> Stream:
        """The one that the calling thread works on."""
        return self._current.stream or self.stream("compute")

    def event(self) -> Event:
        """A new event."""
        return Event()

    def memory(self) -> MemoryReading:
        """Memory of the device, in bytes."""
        return MemoryReading(capacity=BYTES, in_use=0, usable=BYTES, peak=0, pressure=0.0)

    def owns(self, array: object) -> bool:
        """Whether it is an array of your library."""
        return isinstance(array, np.ndarray)

    def empty(self, shape: Sequence[int], like: Any) -> Any:
        """An array of that shape, with the dtype and the device of `like`."""
        return np.empty(tuple(shape), like.dtype)

    def copy(self, destination: Any, source: Any) -> None:
        """Write `source` into `destination`; a copy that would convert values is an error."""
        np.copyto(destination, source, casting="equiv")

    def concatenate(self, parts: Sequence[Any], axis: int) -> Any:
        """Join parts."""
        return np.concatenate(parts, axis)

    def take(self, array: Any, indices: Sequence[int], axis: int) -> Any:
        """Rows at these places, as a new array."""
        return array.take(np.asarray(indices, np.intp), axis)

    def scatter(self, destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
        """Write rows to these places."""
        where: list[Any] = [slice(None)] * destination.ndim
        where[axis] = np.asarray(indices, np.intp)
        destination[tuple(where)] = source

    def differentiable(self, arrays: Sequence[Any]) -> bool:
        """Whether gradients would be recorded for any of them now."""
        return False

    def unsupported(self, array: Any) -> str | None:
        """Why rows of it cannot be cut; None where they can."""
        return None

    def classify(self, error: BaseException) -> FailureKind:
        """What an error, or what caused it, means for trying again."""
        found: BaseException | None = error
        while found is not None:
            if isinstance(found, MemoryError):
                return FailureKind.OOM
            found = found.__cause__ or found.__context__
        return FailureKind.OTHER

    def reclaim(self) -> None:
        """Give back what your library has cached."""

    def thread_state(self) -> HostState:
        """What is set for the calling thread: context variables, and whatever your library keeps beside."""
        return HostState()

    def parallel_limits(self, workers: int) -> AbstractContextManager[None]:
        """Share out threads of the whole process among `workers` threads."""
        return nullcontext()

    def worker_limits(self, workers: int) -> AbstractContextManager[None]:
        """Share out threads that are counted for each thread."""
        return nullcontext()
