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
    SupportsAwaiting,
    SupportsCollectives,
    SupportsDeviceName,
    SupportsGraphs,
    SupportsGraphState,
    SupportsJoins,
    SupportsLanes,
    SupportsNeeds,
    SupportsPeak,
    SupportsPipes,
    SupportsProbe,
    SupportsRanges,
    SupportsRanks,
    SupportsRows,
    SupportsSights,
    SupportsThreadedCapture,
    SupportsTimedEvents,
    SupportsTransfer,
    SupportsTrials,
    SupportsValues,
    SupportsYieldCheck,
)
from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind
from microbatch.options.raised import Harmless, attempted, class_name, described

__all__ = ["Device", "FindBackend", "Owners", "device_of", "meaning_of"]

FindBackend = Callable[[object], Backend]
"""find(array) -> the backend that an array of another framework belongs to."""


class Owners:
    """Which backend makes and copies an array: that of the step, or that of the array's own framework.

    What such backends can do with arrays is asked here, once for each of them.
    """

    __slots__ = ("_backend", "_find", "_joins", "_known", "_values", "rows")

    def __init__(self, backend: Backend, find: FindBackend | None = None) -> None:
        """Without `find` all arrays are the backend's."""
        self._backend = backend
        self._find = find
        self._known: dict[tuple[type, str], Backend] = {}
        self._joins: dict[str, bool] = {}
        self._values: dict[str, SupportsValues | None] = {}
        self.rows = backend.rows if isinstance(backend, SupportsRows) else None
        """Takes neighbouring rows of an array; None where slices do."""

    def of(self, array: object) -> Backend:
        """The backend; NumPy's arrays are every backend's."""
        if self._find is None or isinstance(array, np.ndarray) or self._backend.owns(array):
            return self._backend
        key = type(array), str(getattr(array, "device", ""))
        known = self._known.get(key)
        return known if known is not None else self._known.setdefault(key, self._find(array))

    def joins(self, backend: Backend) -> bool:
        """Whether arrays of `backend`, one that `of` gave, cannot be written to, so that parts are joined."""
        known = self._joins.get(backend.name)
        if known is None:
            known = self._joins[backend.name] = isinstance(backend, SupportsJoins) and backend.joins
        return known

    def values(self, array: object) -> SupportsValues | None:
        """What reads the values of `array` where NumPy cannot; None where nothing does."""
        backend = self.of(array)
        if backend.name not in self._values:
            self._values[backend.name] = backend if isinstance(backend, SupportsValues) else None
        return self._values[backend.name]


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
    sights: SupportsSights | None
    """Sees collectives and waits that a function calls."""
    timed: SupportsTimedEvents | None
    """Tells when the device did what."""
    names: SupportsDeviceName | None
    """Says what it runs on."""
    needs: SupportsNeeds | None
    """Says how much memory a call takes, before it is made."""
    awaits: SupportsAwaiting | None
    """Waits for what a function returns."""
    joins: bool
    """Whether its arrays cannot be written to, so that parts of outputs are joined at the end."""
    captures_threads: bool
    """Whether a capture holds what other threads launch on its streams."""

    def may_probe(self) -> bool:
        """Whether a part that does not fit raises, and no process is killed."""
        return self.probe is not None and self.probe.may_probe()


def device_of(backend: Backend, find: FindBackend | None = None) -> Device:
    """The record of `backend`; raises PluginError where it raises when it is asked what it can do.

    `find` says whose an array of another framework is.
    """
    device, error = attempted(lambda: _asked(backend, backend, find))
    if device is None:
        assert error is not None
        name = class_name(type(backend))
        text = f"backend {name} raised {described(error)} when it was asked what it can do; update its plugin"
        raise PluginError(text) from error
    return device


def _asked(backend: Backend, able: object, find: FindBackend | None) -> Device:
    """`able` is the backend as an object: of its own type, each question doubles a type checker's work."""
    owners = Owners(backend, find)
    return Device(
        backend=backend,
        owners=owners,
        peak=able if isinstance(able, SupportsPeak) else None,
        probe=able if isinstance(able, SupportsProbe) else None,
        collectives=able if isinstance(able, SupportsCollectives) else None,
        ranks=able if isinstance(able, SupportsRanks) else None,
        graphs=able if isinstance(able, SupportsGraphs) else None,
        graph_state=able if isinstance(able, SupportsGraphState) else None,
        lanes=able if isinstance(able, SupportsLanes) else None,
        pipes=able if isinstance(able, SupportsPipes) else None,
        transfer=able if isinstance(able, SupportsTransfer) else None,
        trials=able if isinstance(able, SupportsTrials) else None,
        yield_check=able if isinstance(able, SupportsYieldCheck) else None,
        ranges=able if isinstance(able, SupportsRanges) else None,
        sights=able if isinstance(able, SupportsSights) else None,
        timed=able if isinstance(able, SupportsTimedEvents) else None,
        names=able if isinstance(able, SupportsDeviceName) else None,
        needs=able if isinstance(able, SupportsNeeds) else None,
        awaits=able if isinstance(able, SupportsAwaiting) else None,
        joins=owners.joins(backend),
        captures_threads=isinstance(able, SupportsThreadedCapture) and able.captures_threads,
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
