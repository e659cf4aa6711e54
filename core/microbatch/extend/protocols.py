"""The seams: what a backend and a sizing policy must be able to do, and what they may.

Invariant: core speaks to a device only through these; there is no `if backend ==` anywhere in core. What each
must do is one Protocol; what it may do is a `Supports*` of `abilities.py`, asked for once a backend.

Rejected: one fat protocol with methods that raise "not supported": nobody can ask it beforehand what it can
do.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, runtime_checkable

from microbatch.extend.records import FailureKind, MemoryReading, Proposal, SizingRequest, StepReport

__all__ = [
    "Array",
    "Backend",
    "Event",
    "Pipe",
    "Rows",
    "SizingPolicy",
    "Stream",
    "StreamPurpose",
    "ThreadState",
]

Array = Any
"""Anything with shape, dtype and slicing: NumPy, torch, CuPy, a third party's. Core never inspects more."""

StreamPurpose = Literal["compute", "communication", "copy_in", "copy_out"]


@runtime_checkable
class Event(Protocol):
    """A point in the work of a stream. One that was never recorded counts as done (as in CUDA)."""

    def record(self, stream: Stream) -> None:
        """Mark the work submitted to `stream` so far; replaces an earlier mark."""

    def done(self) -> bool:
        """Whether the marked work has finished; never blocks."""
        ...

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block the host until done; False if `timeout` seconds passed. Raises the error of failed work."""
        ...


@runtime_checkable
class Stream(Protocol):
    """An ordered queue of device work. Work of two streams is ordered by events only."""

    purpose: str

    def submit(self, work: Callable[[], object]) -> None:
        """Put `work` behind all that was submitted before; may return before it has run (CPU queue), or run
        it at once with this stream current so that what it launches is ordered here (CUDA)."""

    def wait(self, event: Event) -> None:
        """Order later work of this stream after `event`'s latest record; the host does not block."""

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block the host until all submitted work is done; raises the first error of that work."""
        ...

    def activate(self) -> AbstractContextManager[None]:
        """Make this stream the current one of the calling thread, and put the former one back on exit."""
        ...


Pipe = tuple[Stream, Stream, Stream]
"""The streams of a streamed step: copy-in, compute and copy-out."""


@runtime_checkable
class ThreadState(Protocol):
    """A snapshot of what the framework and Python keep per thread, taken in the caller."""

    def apply(self) -> AbstractContextManager[None]:
        """Set it in the thread that enters, undo on exit. May be entered by several threads at once."""
        ...


@runtime_checkable
class Backend(Protocol):
    """A device, and how core reaches its streams, memory and arrays."""

    name: str
    asynchronous: bool
    """Whether array operations under an active stream may still run when they return (a device queue). False
    on a CPU, although work *submitted* to one of its streams runs beside the caller."""
    parallel: bool
    """Whether several ubatches run faster side by side in host threads (a CPU); False where the device itself
    overlaps what streams allow, and more host threads only compete for the interpreter."""

    def stream(self, purpose: StreamPurpose) -> Stream:
        """The stream for `purpose` of the current device; the same object each time it is asked."""
        ...

    def current_stream(self) -> Stream:
        """The stream the calling thread launches on now; what a step must join at entry and exit."""
        ...

    def event(self) -> Event:
        """A new event."""
        ...

    def memory(self) -> MemoryReading:
        """Read the memory the step will use; cheap (cached for about 10 ms where reading costs)."""
        ...

    def owns(self, array: object) -> bool:
        """Whether `array` is one of this backend's arrays on one of its devices."""
        ...

    def empty(self, shape: Sequence[int], like: Array) -> Array:
        """An uninitialised array of `shape` with the dtype, device and memory layout kind of `like`."""
        ...

    def copy(self, destination: Array, source: Array) -> None:
        """Write `source` into `destination` (same shape), ordered on the current stream."""

    def concatenate(self, parts: Sequence[Array], axis: int) -> Array:
        """Join parts along `axis` so that autograd, where it records, sees the join."""
        ...

    def take(self, array: Array, indices: Sequence[int], axis: int) -> Array:
        """Rows of `array` at `indices` (host integers) along `axis`, as a new array."""
        ...

    def scatter(self, destination: Array, indices: Sequence[int], source: Array, axis: int) -> None:
        """Write rows of `source` to `destination` at `indices` along `axis`."""

    def differentiable(self, arrays: Sequence[Array]) -> bool:
        """Whether autograd would record an operation on any of `arrays` now."""
        ...

    def unsupported(self, array: Array) -> str | None:
        """Why rows of `array` cannot be cut (sparse, quantised, structured object), or None."""
        ...

    def classify(self, error: BaseException) -> FailureKind:
        """What `error`, its causes and contexts mean for retrying."""
        ...

    def reclaim(self) -> None:
        """Give cached memory back: synchronize, empty the pool; nothing where nothing is cached.

        Called where memory ran out, and then perhaps several times in a step. It collects no garbage: the
        step does, once and where that may help, since with a large heap a collection takes 0.3 s.
        """

    def thread_state(self) -> ThreadState:
        """Capture the calling thread's state."""
        ...

    def parallel_limits(self, workers: int) -> AbstractContextManager[None]:
        """Entered by the caller around a parallel step: leave each of `workers` threads its share of the
        cores (BLAS threads are process-wide). Per-thread counts are set by `worker_limits`.

        An interrupt may strike between entering and leaving: leaving twice must be leaving once, and leaving
        what was not entered must do nothing. `contextlib.nullcontext` and most classes can do that, a
        generator with `contextlib.contextmanager` cannot."""
        ...

    def worker_limits(self, workers: int) -> AbstractContextManager[None]:
        """Entered inside each thread of a parallel step, the caller's too: intra-op threads of it. Left as
        what `parallel_limits` gives."""
        ...


@runtime_checkable
class Rows(Protocol):
    """How the rows of one type that is no array are counted, taken, put together and read.

    Nothing that it is given is written to. What it makes is of the type that the library itself would have
    made: index, names, coordinates and format stay.
    """

    def unsupported(self, rows: Any) -> str | None:
        """Why these rows cannot be cut, and what to do; None where they can."""
        ...

    def length(self, rows: Any) -> int:
        """How many there are."""
        ...

    def take(self, rows: Any, where: slice | Any) -> Any:
        """Those at `where`, a slice of step 1 or a NumPy array of int64, as one of the same type."""
        ...

    def join(self, parts: Sequence[Any], order: Any = None) -> Any:
        """All rows of `parts`, of which there is at least one, as one of the same type.

        `order` has the place of each row among those of the parts, where they come in another one.
        """
        ...

    def read(self, rows: Any) -> Mapping[str, Any]:
        """All that tells a row from another, by name: lists or NumPy arrays with an entry per row.

        Numbers that only say a row's place (0, 1, 2, ...) are left out. Called for few rows.
        """
        ...

    def alike(self, rows: Any) -> Hashable:
        """What parts that belong together have in common: names and types of columns, name, format."""
        ...

    def nbytes(self, rows: Any) -> int:
        """Bytes of all rows, 0 where finding out takes longer than a millisecond."""
        ...


@runtime_checkable
class SizingPolicy(Protocol):
    """Decides how large a ubatch may be. Sees numbers only; cannot break a step, only slow it."""

    def propose(self, request: SizingRequest) -> Proposal:
        """Answer for one step; called once per step. A part that runs out of memory is halved without
        asking again."""
        ...

    def observe(self, report: StepReport) -> None:
        """Learn from a finished or failed step; `report.oom_sizes` are the attempts that ran out of
        memory."""
