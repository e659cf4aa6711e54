"""Vector clocks of host threads and streams, advanced entry by entry.

Invariant: after an entry, the clock of an agent holds for every other agent the last tick that is ordered
before what the agent does next. Work is launched by a host thread and starts after the call, and the thread
does not wait for it: the stream takes the thread's clock over, never the other way round, until something
synchronizes.
"""

from __future__ import annotations

from collections.abc import Hashable

from microbatch.testing.recording.trace import TraceEntry

Clock = dict[int, int]
"""agent -> tick."""


class Clocks:
    """The clocks of all agents of one trace."""

    def __init__(self) -> None:
        self._agents: dict[tuple[str, Hashable], int] = {}
        self._clocks: list[Clock] = []
        self._events: dict[Hashable, Clock] = {}
        self._signals: dict[Hashable, Clock] = {}

    def advance(self, entry: TraceEntry) -> tuple[int, Clock, bool]:
        """Take `entry` in: the agent that does it, that agent's clock, and whether the entry ordered anything
        new.

        A wait for an event that was never recorded orders nothing, as in CUDA.
        """
        host = self._agent("host", entry.thread)
        kind = entry.kind
        if kind in ("launch", "alloc", "record", "wait"):
            return self._enqueue(entry, host)
        known: Clock | None = None
        if kind == "sync_stream":
            known = self._clocks[self._agent("stream", entry.stream)]
        elif kind == "sync_event":
            known = self._events.get(entry.token)
        elif kind == "wait_host":
            known = self._signals.get(entry.token)
        elif kind == "sync_device":
            known = {}
            for (what, _), agent in self._agents.items():
                if what == "stream":
                    _merge(known, self._clocks[agent])
        elif kind == "signal":
            _merge(self._signals.setdefault(entry.token, {}), self._clocks[host])
        fresh = _merge(self._clocks[host], known) if known else False
        self._tick(host)
        return host, self._clocks[host], fresh

    def recorded(self, event: Hashable) -> bool:
        """Whether `event` has been recorded so far."""
        return event in self._events

    def _enqueue(self, entry: TraceEntry, host: int) -> tuple[int, Clock, bool]:
        stream = self._agent("stream", entry.stream)
        clock = self._clocks[stream]
        _merge(clock, self._clocks[host])
        self._tick(stream)
        fresh = True
        if entry.kind == "record":
            self._events[entry.token] = dict(clock)
        elif entry.kind == "wait":
            known = self._events.get(entry.token)
            fresh = _merge(clock, known) if known else False
        self._tick(host)
        return stream, clock, fresh

    def _tick(self, agent: int) -> None:
        clock = self._clocks[agent]
        clock[agent] = clock.get(agent, 0) + 1

    def _agent(self, what: str, name: Hashable) -> int:
        key = (what, name)
        agent = self._agents.get(key)
        if agent is None:
            agent = self._agents[key] = len(self._clocks)
            self._clocks.append({agent: 1})
        return agent


def _merge(clock: Clock, other: Clock) -> bool:
    """Pointwise maximum into `clock`; whether that changed it."""
    changed = False
    for agent, tick in other.items():
        if clock.get(agent, 0) < tick:
            clock[agent] = tick
            changed = True
    return changed
