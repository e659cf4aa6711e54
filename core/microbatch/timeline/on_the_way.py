"""Collectives on their way: when they began, when they were waited for, and whether anybody could compute.

Invariant: starting a collective is a bar of the thread, and so is one that is waited for where it is started,
as nobody else runs meanwhile. Any other is then a bar beside the threads, until it has ended or, where nobody
can tell that, its wait has returned. A ubatch waits as soon as it has the turn again, which may be long after
the collective has ended: 93 % of such time once lay under compute, and 72 % of what was really communication.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from microbatch.timeline.track import Track

START = "start"
"""The note of the bar in which a collective is started."""
BLOCKING = "blocking"
"""The note of a collective that was waited for where it was started."""
NO_YIELD = "no yield"
"""The note of one that was waited for without passing the turn in between."""
DEVICE_WIDE = "device-wide"
"""The note of a wait for all that a device does."""


TellEnd = Callable[[Any, Callable[[], None]], None]
"""tell_end(work, call): `call` is called when `work` has ended, from any thread, or never."""


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
    ends: list[float] = field(default_factory=list)
    """When it has ended, once that was told."""


def started(track: Track, name: str, blocking: bool, start: Callable[[], Any], tell_end: TellEnd) -> Any:
    """What `start` returns: something to wait for, which is looked up again in `waited`."""
    with track.phase("communicate", name, START):
        work = start()
    now, yields = track.where.runtime.monotonic(), track.yields
    flight = Flight(name=name, start=now, track=track, yields=yields, blocking=blocking)
    try:
        track.where.recording.on_the_way[work] = flight
    except TypeError:  # nothing that can be waited for
        return work
    tell_end(work, lambda: flight.ends.append(track.where.runtime.monotonic()))
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
        # taken inside of the wait: the path of a step goes from a bar to one that has ended before it
        end = min((*flight.ends, track.where.runtime.monotonic()))
    unmoved = flight.track is track and flight.yields == track.yields
    flight.track.add((flight.start, end), flight.name, NO_YIELD if unmoved else "")
    return answer
