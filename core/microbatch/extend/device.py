"""A backend together with its optional abilities, each asked for once.

Invariant: whether a backend has an ability does not change while a wrapper lives. Asking costs 13 us an
ability with `isinstance` and a protocol, so a step reads this record instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from microbatch.errors import PluginError
from microbatch.extend.abilities import (
    SupportsCollectives,
    SupportsDeviceName,
    SupportsGraphs,
    SupportsGraphState,
    SupportsLanes,
    SupportsPeak,
    SupportsPipes,
    SupportsProbe,
    SupportsRanges,
    SupportsRanks,
    SupportsThreadedCapture,
    SupportsTransfer,
    SupportsTrials,
    SupportsYieldCheck,
)
from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind
from microbatch.options.raised import Harmless, attempted, class_name, described

__all__ = ["Device", "FindBackend", "Owners", "device_of", "meaning_of"]

FindBackend = Callable[[object], Backend]
"""find(array) -> the backend that an array of another framework belongs to."""


class Owners:
    """Which backend makes and copies an array: that of the step, or that of the array's own framework."""

    __slots__ = ("_backend", "_find", "_known")

    def __init__(self, backend: Backend, find: FindBackend | None = None) -> None:
        """Without `find` all arrays are the backend's."""
        self._backend = backend
        self._find = find
        self._known: dict[tuple[type, str], Backend] = {}

    def of(self, array: object) -> Backend:
        """The backend; NumPy's arrays are every backend's."""
        if self._find is None or isinstance(array, np.ndarray) or self._backend.owns(array):
            return self._backend
        key = type(array), str(getattr(array, "device", ""))
        known = self._known.get(key)
        return known if known is not None else self._known.setdefault(key, self._find(array))


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A backend, and itself again for each ability it has; None for an ability it lacks."""

    backend: Backend
    """What every step needs."""
    owners: Owners
    """Says which backend an array of another framework belongs to."""
    peak: SupportsPeak | None
    """Measures the peak of a stretch of work."""
    probe: SupportsProbe | None
    """Says whether a size may be tried to failure."""
    collectives: SupportsCollectives | None
    """Puts yield points at collectives."""
    ranks: SupportsRanks | None
    """Says which other ranks run this step too."""
    graphs: SupportsGraphs | None
    """Captures and replays."""
    graph_state: SupportsGraphState | None
    """Tells the modes that a graph depends on."""
    lanes: SupportsLanes | None
    """Lends each ubatch streams of its own."""
    pipes: SupportsPipes | None
    """Lends each streamed step streams of its own."""
    transfer: SupportsTransfer | None
    """Copies between the host and a memory of its own."""
    trials: SupportsTrials | None
    """Lets calls leave no trace."""
    yield_check: SupportsYieldCheck | None
    """Tells whether a thread's modes are as at the start of its ubatch."""
    ranges: SupportsRanges | None
    """Names ranges for a profiler."""
    names: SupportsDeviceName | None
    """Says what it runs on."""
    captures_threads: bool
    """Whether a capture holds what other threads launch on its streams."""

    def may_probe(self) -> bool:
        """Whether a part that does not fit raises, and no process is killed."""
        return self.probe is not None and self.probe.may_probe()


def device_of(backend: Backend, find: FindBackend | None = None) -> Device:
    """The record of `backend`; raises PluginError where it raises when it is asked what it can do.

    `find` says whose an array of another framework is.
    """
    device, error = attempted(lambda: _asked(backend, find))
    if device is None:
        assert error is not None
        name = class_name(type(backend))
        text = f"backend {name} raised {described(error)} when it was asked what it can do; update its plugin"
        raise PluginError(text) from error
    return device


def _asked(backend: Backend, find: FindBackend | None) -> Device:
    return Device(
        backend=backend,
        owners=Owners(backend, find),
        peak=backend if isinstance(backend, SupportsPeak) else None,
        probe=backend if isinstance(backend, SupportsProbe) else None,
        collectives=backend if isinstance(backend, SupportsCollectives) else None,
        ranks=backend if isinstance(backend, SupportsRanks) else None,
        graphs=backend if isinstance(backend, SupportsGraphs) else None,
        graph_state=backend if isinstance(backend, SupportsGraphState) else None,
        lanes=backend if isinstance(backend, SupportsLanes) else None,
        pipes=backend if isinstance(backend, SupportsPipes) else None,
        transfer=backend if isinstance(backend, SupportsTransfer) else None,
        trials=backend if isinstance(backend, SupportsTrials) else None,
        yield_check=backend if isinstance(backend, SupportsYieldCheck) else None,
        ranges=backend if isinstance(backend, SupportsRanges) else None,
        names=backend if isinstance(backend, SupportsDeviceName) else None,
        captures_threads=isinstance(backend, SupportsThreadedCapture) and backend.captures_threads,
    )


def meaning_of(backend: Backend, error: BaseException) -> FailureKind:
    """What `backend` says that `error` means for retrying; OTHER, the error itself, where it says nothing.

    It is asked while that error is handled: what the backend raises meanwhile must not take its place.
    """
    with Harmless():
        kind = backend.classify(error)
        if isinstance(kind, FailureKind):
            return kind
    return FailureKind.OTHER
