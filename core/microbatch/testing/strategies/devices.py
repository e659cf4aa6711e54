"""Orders of work, places where something fails, and traces of a device.

Invariant: an order is a short list of departures from the default, drawn before anything runs: it shrinks to
the one or two that matter (drawing each decision took 10 times as many runs and shrank worse).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st

from microbatch.testing.adversarial.order import PURPOSES, WorkOrder
from microbatch.testing.recording.trace import Access, TraceEntry

STAGES = ("load", "compute", "store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A place in a step where something fails."""

    ubatch: int
    """The ubatch, from 0."""
    stage: Literal["load", "compute", "store"]
    """What of it fails."""
    memory: bool
    """Whether as out-of-memory, which is retried, or as an error of the function, which is not."""


def work_orders(*, max_turns: int = 4, decisions: int = 60) -> st.SearchStrategy[WorkOrder]:
    """Orders for an `AdversarialBackend`; the simplest runs the newest launch first."""
    return st.builds(
        WorkOrder,
        starved=st.sampled_from([None, *PURPOSES]),
        turns=st.lists(
            st.tuples(st.integers(0, decisions), st.integers(0, 3)),
            max_size=max_turns,
            unique_by=lambda turn: turn[0],
        ).map(tuple),
        oldest_first=st.booleans(),
    )


def turn_lists(*, parties: int, max_size: int = 30) -> st.SearchStrategy[list[int]]:
    """Orders for a `Sequencer`: who goes next, by number."""
    return st.lists(st.integers(0, parties - 1), max_size=max_size)


def faults(*, ubatches: int) -> st.SearchStrategy[Fault]:
    """One failing place among `ubatches`."""
    return st.builds(
        Fault, ubatch=st.integers(0, ubatches - 1), stage=st.sampled_from(STAGES), memory=st.booleans()
    )


def traces(
    *, threads: int = 3, streams: int = 3, blocks: int = 2, size: int = 8, max_size: int = 14
) -> st.SearchStrategy[list[TraceEntry]]:
    """Traces of launches, events, synchronizations, host accesses and hand-offs, in any order."""
    thread = st.integers(0, threads - 1)
    stream = st.integers(0, streams - 1)
    event = st.integers(0, 2)
    access = st.builds(
        lambda block, low, length, write: Access(block, low, min(size, low + length), write),
        st.integers(0, blocks - 1),
        st.integers(0, size - 1),
        st.integers(1, size),
        st.booleans(),
    )
    touched = st.lists(access, min_size=1, max_size=2).map(tuple)
    return st.lists(
        st.one_of(
            st.builds(lambda t, s, a: TraceEntry("launch", t, s, None, a), thread, stream, touched),
            st.builds(lambda t, s, e: TraceEntry("record", t, s, e), thread, stream, event),
            st.builds(lambda t, s, e: TraceEntry("wait", t, s, e), thread, stream, event),
            st.builds(lambda t, s: TraceEntry("sync_stream", t, s), thread, stream),
            st.builds(lambda t, e: TraceEntry("sync_event", t, None, e), thread, event),
            st.builds(lambda t: TraceEntry("sync_device", t), thread),
            st.builds(lambda t, a: TraceEntry("host", t, None, None, a), thread, touched),
            st.builds(lambda t, g: TraceEntry("signal", t, None, g), thread, event),
            st.builds(lambda t, g: TraceEntry("wait_host", t, None, g), thread, event),
        ),
        max_size=max_size,
    )
