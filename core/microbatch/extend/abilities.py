"""What a backend or policy may be able to do besides what it must: one small protocol for each ability.

Invariant: a backend without an ability runs every step, only without what the ability gives. Which abilities
a backend has is asked once (`device.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import numpy as np

from microbatch.extend.protocols import Array, Pipe, Stream

__all__ = [
    "Graph",
    "PeakMark",
    "Ranks",
    "SupportsAwaiting",
    "SupportsCollectives",
    "SupportsDeviceName",
    "SupportsGraphState",
    "SupportsGraphs",
    "SupportsHostArrays",
    "SupportsJoins",
    "SupportsLanes",
    "SupportsNeeds",
    "SupportsPeak",
    "SupportsPipes",
    "SupportsProbe",
    "SupportsRanges",
    "SupportsRanks",
    "SupportsRows",
    "SupportsSights",
    "SupportsState",
    "SupportsThreadedCapture",
    "SupportsTimedEvents",
    "SupportsTransfer",
    "SupportsTrials",
    "SupportsValues",
    "SupportsYieldCheck",
    "TimedEvent",
]


@runtime_checkable
class Graph(Protocol):
    """A captured step."""

    def replay(self) -> None:
        """Launch the captured work on the current stream."""

    def bytes_held(self) -> int:
        """Device bytes this graph keeps alive beyond the shared pool."""
        ...


@runtime_checkable
class SupportsGraphs(Protocol):
    """Backends that can capture and replay."""

    def capture(self, work: Callable[[], Any], *, pool: object | None = None) -> tuple[Graph, Any]:
        """Call `work` twice: first to run, so that handles, plans and workspaces exist, then to capture what
        it launches. Returns the graph and what `work` returned the second time (static outputs, filled by a
        replay).

        Both calls are ordered after the current stream, later work of that after the first. What
        `stream(purpose)` answers inside `work` belongs to this capture alone, so eager work of other threads
        never gets into it. Raises what `work` raised, and for what cannot be captured an error that
        `capture_refused` knows; then all streams have left the capture.
        """
        ...

    def graph_pool(self) -> object | None:
        """A memory pool that graphs may share, or None where each has its own."""
        ...

    def capture_refused(self, error: BaseException) -> bool:
        """Whether `error` says that the work cannot be captured (so eager is right), not that it is wrong."""
        ...


@runtime_checkable
class SupportsGraphState(Protocol):
    """Backends whose thread has modes that decide which work a call launches."""

    def graph_state(self) -> Hashable:
        """A comparable value of those modes; a graph is replayed only under those it was captured with."""
        ...


@runtime_checkable
class SupportsThreadedCapture(Protocol):
    """Backends that say which threads a capture is of."""

    captures_threads: bool
    """Whether a capture holds what other threads launch on its streams, as ubatches on threads do."""


@runtime_checkable
class PeakMark(Protocol):
    """A stretch of work whose memory is measured."""

    in_use: int
    """Bytes in use at its start."""

    def peak(self) -> int:
        """The highest bytes in use since; never less than `in_use`."""
        ...


@runtime_checkable
class SupportsPeak(Protocol):
    """Backends whose memory cannot be tried (who takes too much is killed), so first parts are measured."""

    def peak_mark(self) -> PeakMark | None:
        """Start a stretch of work; None where it cannot be measured here."""
        ...


@runtime_checkable
class SupportsJoins(Protocol):
    """Backends that say whether their arrays can be written to."""

    joins: bool
    """True where they cannot: each part of an output is then kept as it is, and `concatenate` joins them when
    all are there. `empty` still makes an array, of which only its type is looked at; `copy` and `scatter` are
    called for arrays of the host only."""


@runtime_checkable
class SupportsRows(Protocol):
    """Backends that take neighbouring rows in a better way than the slices of their arrays do."""

    def rows(self, array: Array, where: slice, axis: int) -> Array:
        """What `array[..., where, ...]` gives, of any array of the host or of the backend; may be a view, or
        share memory that nobody writes to."""
        ...


@runtime_checkable
class SupportsAwaiting(Protocol):
    """Backends of frameworks whose functions may return before what they return is there, on no stream."""

    def awaiting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that calls `function`, and returns when all arrays that it gave are there; `function`
        itself where there is nothing to wait for. Raises what the work that makes them has raised. Asked once
        a step."""
        ...


@runtime_checkable
class SupportsValues(Protocol):
    """Backends with arrays whose values NumPy cannot read."""

    def values(self, array: Array) -> np.ndarray[Any, Any]:
        """Numbers of the host that tell one entry from another, with the axes of `array` first."""
        ...


@runtime_checkable
class SupportsLanes(Protocol):
    """Backends whose freed memory goes to later work of the stream it was allocated on, waited for or not."""

    def lanes(self, count: int) -> AbstractContextManager[Sequence[tuple[Stream, Stream]]]:
        """`count` pairs of a compute and a communication stream of the current device, lent to nobody else.

        Pairs may be lent again afterwards; whoever has them joins both streams at the end. `LanePool` of
        `microbatch.extend.lanes` does this for a function that makes streams.
        """
        ...


@runtime_checkable
class SupportsNeeds(Protocol):
    """Backends whose compiler says how much memory a call takes, before it is made."""

    def needs(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[int, int] | None:
        """Bytes that such a call takes beside its arguments and outputs, and bytes of its outputs.

        None for a function of which nothing is known, which is any that is not compiled, and where compiling
        it fails: the call itself raises that. What is compiled for this serves the call."""
        ...


@runtime_checkable
class SupportsPipes(Protocol):
    """Backends whose streams run submitted work in threads of their own, as queues of the host do.

    A step that is called inside such work would wait for what is queued behind it, so no two steps may share
    a stream. Backends that launch work from the calling thread need no such thing.
    """

    def pipe(self) -> AbstractContextManager[Pipe]:
        """Streams lent to nobody else; they may be lent again after a step that succeeded."""
        ...


@runtime_checkable
class SupportsProbe(Protocol):
    """Backends whose memory may be tried: a part that does not fit raises, and the device is as before."""

    def may_probe(self) -> bool:
        """Whether that holds for the calling thread's device: not where its memory is the host's, nor where
        running out may lose the device (XPU) or make the host swap (MPS). Asked once a step, so cheap."""
        ...


@runtime_checkable
class SupportsDeviceName(Protocol):
    """Backends that can say what they run on; sizes learned on one device do not hold for another."""

    def device_name(self) -> str:
        """The calling thread's device, as its vendor calls it. Asked once a wrapper."""
        ...


@runtime_checkable
class SupportsTransfer(Protocol):
    """Backends with a memory of their own, reached by copies."""

    def staging(self, shape: Sequence[int], like: Array) -> Array:
        """A host buffer that the device can copy from and to asynchronously (pinned)."""
        ...

    def to_device(self, destination: Array, source: Array) -> None:
        """Copy host to device on the current stream; asynchronous when `source` is staging memory."""

    def to_host(self, destination: Array, source: Array) -> None:
        """Copy device to host on the current stream; asynchronous when `destination` is staging memory."""

    def empty_device(self, shape: Sequence[int], like: Array) -> Array:
        """An uninitialised device array for a host array `like`."""
        ...


@runtime_checkable
class SupportsRanges(Protocol):
    """Backends whose profiler shows named ranges."""

    def range(self, name: str) -> AbstractContextManager[None]:
        """Name what the calling thread does inside."""
        ...


@runtime_checkable
class TimedEvent(Protocol):
    """An event that knows when the device came to it."""

    def record(self, stream: Stream) -> None:
        """Mark the work submitted to `stream` so far."""

    def synchronize(self, timeout: float | None = None) -> bool:
        """Block the host until done; False if `timeout` seconds passed. Raises the error of failed work."""
        ...

    def seconds_until(self, later: Any) -> float:
        """Seconds of the device from this event to `later`, both of one device, once it has come to both."""
        ...

    def another(self) -> TimedEvent:
        """A new event of the same device."""
        ...


@runtime_checkable
class SupportsTimedEvents(Protocol):
    """Backends whose events may have a time, which a recorded step asks for."""

    def timed_event(self) -> TimedEvent | None:
        """A new event with a time; None where there can be none now, as inside a capture."""
        ...


@runtime_checkable
class SupportsSights(Protocol):
    """Backends that can see what a function calls of their framework: collectives, waits for the device."""

    def watch_calls(self) -> None:
        """From now on such calls tell the track of their ubatch (`microbatch.timeline.track.TRACK`), where it
        has one; elsewhere nothing changes. Twice is once."""


@runtime_checkable
class SupportsTrials(Protocol):
    """Backends whose framework keeps a trace of calls: recorded gradients, random numbers."""

    def trial(self) -> AbstractContextManager[Callable[[], bool]]:
        """Calls inside leave none: nothing is recorded for gradients, and at the end the framework's random
        numbers go on where they were. Gives a function that says whether any were drawn until then.

        It may be left more than once, as `Backend.parallel_limits`."""
        ...


@runtime_checkable
class SupportsYieldCheck(Protocol):
    """Backends that can tell whether a thread's framework modes are as at the start of its ubatch."""

    def mode_depth(self) -> object:
        """A comparable value of the mode stacks that cannot be carried across a hand-off."""
        ...


@runtime_checkable
class Ranks(Protocol):
    """The processes that run each step together with this one, itself included."""

    rank: int
    """This one, from 0."""
    size: int
    """How many there are, at least 2."""

    def largest(self, numbers: Sequence[int], timeout: float | None) -> Sequence[int]:
        """The largest of each number over all ranks; every rank must call it equally often, with as many.

        `timeout` is in seconds; None takes the limit of the group. Raises TimeoutError where not all ranks
        came within it, and ConnectionError where one of them has left. A later call may succeed again.
        """
        ...


@runtime_checkable
class SupportsRanks(Protocol):
    """Backends whose process may be one rank of several, which run each step together."""

    grouping: str
    """Name of the module that makes groups; `ranks` is asked for once it has been imported."""

    def ranks(self, group: object | None) -> Ranks | None:
        """The ranks of `group` (None: of all there are), or None where this process runs its steps alone.

        The same object while the group is the same. Asked at every step, so cheap, above all the answer None.
        """
        ...


@runtime_checkable
class SupportsCollectives(Protocol):
    """Backends that can put yield points where a framework waits for a collective."""

    def hook_collectives(self) -> None:
        """From now on every such wait passes the turn first, in code for which
        `microbatch.turns.context.AT_COLLECTIVES` is set; elsewhere nothing changes. Twice is once."""


@runtime_checkable
class SupportsState(Protocol):
    """Policies that keep what they learned across runs."""

    def state(self) -> Mapping[str, Any]:
        """JSON-able sufficient statistics."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take such statistics back, with uncertainty widened; raise ValueError if they are not ours."""


@runtime_checkable
class SupportsHostArrays(Protocol):
    """Backends that make their own arrays of NumPy's, for functions that run on files."""

    def from_host(self, array: Any) -> Array:
        """The values of a NumPy array of numbers, which may be read-only or of a foreign byte order, on the
        current device of this backend; the function may write into it."""
        ...

    def inference(self) -> AbstractContextManager[None]:
        """Inside, no operation of the calling thread is recorded for gradients."""
        ...
