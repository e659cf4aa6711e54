"""Collectives on their way: when they began, when they were waited for, and whether anybody could compute.

Invariant: starting a collective is a bar of the thread, and so is one that is waited for where it is started,
as nobody else runs meanwhile. Any other is then a bar beside the threads, until its wait returns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from microbatch.timeline.track import Track

BLOCKING = "blocking"
"""The note of a collective that was waited for where it was started."""
NO_YIELD = "no yield"
"""The note of one that was waited for without passing the turn in between."""
DEVICE_WIDE = "device-wide"
"""The note of a wait for all that a device does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A collective that was started."""

    name: str
    """What it is called in torch."""
    start: float
    """When it had been started."""
    track: Track
    """Who started it."""
    yields: int
    """Yield points that the ubatch had passed then."""
    blocking: bool
    """Whether it is waited for at once."""


def started(track: Track, name: str, blocking: bool, start: Callable[[], Any]) -> Any:
    """What `start` returns: something to wait for, which is looked up again in `waited`."""
    with track.phase("communicate", name, BLOCKING if blocking else ""):
        work = start()
    now, yields = track.where.runtime.monotonic(), track.yields
    flight = Flight(name=name, start=now, track=track, yields=yields, blocking=blocking)
    try:
        track.where.recording.on_the_way[work] = flight
    except TypeError:  # nothing that can be waited for
        pass
    return work


def waited(track: Track, work: Any, wait: Callable[[], Any]) -> Any:
    """What `wait` returns."""
    flight: Flight | None = track.where.recording.on_the_way.pop(work, None)
    if flight is None:
        with track.phase("wait", "a collective"):
            return wait()
    if flight.blocking:
        with track.phase("communicate", flight.name, BLOCKING):
            return wait()
    with track.phase("wait", flight.name):
        answer = wait()
    unmoved = flight.track is track and flight.yields == track.yields
    flight.track.add("communicate", flight.start, "collective", flight.name, NO_YIELD if unmoved else "")
    return answer
