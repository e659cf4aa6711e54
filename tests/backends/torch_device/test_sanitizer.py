"""PyTorch's own stream sanitizer as a judge: the trace of each schedule is clean, a missing wait is not."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo
from microbatch.testing import RecordingBackend
from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.recording.checker import Race, check
from microbatch.testing.recording.trace import TraceEntry

sanitizer = pytest.importorskip("torch.cuda._sanitizer", reason="PyTorch is not installed")

CASES = [("sequential", False), ("pingpong", False), ("streamed", False), ("streamed", True)]


class Judge:
    """Feeds a trace to torch's handler; an array is known by its first byte, as a tensor is by `data_ptr`."""

    def __init__(self) -> None:
        self.handler = sanitizer.EventHandler()
        self.numbers: dict[Any, int] = {}
        self.known: dict[Any, set[int]] = defaultdict(set)

    def number(self, kind: str, value: Any) -> int:
        if (kind, value) not in self.numbers:
            self.numbers[kind, value] = len(self.numbers) + 1
            if kind == "stream":
                self.handler._handle_stream_creation(self.numbers[kind, value])
            elif kind == "event":
                self.handler._handle_event_creation(self.numbers[kind, value])
        return self.numbers[kind, value]

    def pointers(self, entry: TraceEntry, write: bool) -> set[int]:
        found = {
            (access.block, access.low) for access in entry.accesses if access.write == write and access.high
        }
        numbers = {self.number("array", place) for place in found}
        for block, low in found:
            self.known[block].add(self.number("array", (block, low)))
        return numbers

    def errors(self, entries: list[TraceEntry]) -> list[Any]:
        found: list[Any] = []
        for entry in entries:
            if entry.kind == "launch":
                read, written = self.pointers(entry, False), self.pointers(entry, True)
                names: dict[int, list[str]] = {pointer: [] for pointer in read | written}
                stream = self.number("stream", entry.stream)
                found += self.handler._handle_kernel_launch(
                    stream, read - written, written, set(), entry.label, names
                )
            elif entry.kind in ("alloc", "free"):
                for access in entry.accesses:
                    for pointer in self.known.pop(access.block, ()):
                        self.handler.tensors_accessed.delete_tensor(pointer)
            elif entry.kind in ("record", "wait"):
                event, stream = self.number("event", entry.token), self.number("stream", entry.stream)
                handle = getattr(self.handler, f"_handle_event_{entry.kind}")
                handle(event, stream)
            elif entry.kind == "sync_stream":
                self.handler._handle_stream_synchronization(self.number("stream", entry.stream))
            elif entry.kind == "sync_event":
                self.handler._handle_event_synchronization(self.number("event", entry.token))
            elif entry.kind == "sync_device":
                self.handler._handle_device_synchronization()
        return found


def yielding(x: Any) -> Any:
    h = x * 2
    dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
    h = h + 1
    dbo.dbo_yield_and_switch_from_comm_to_compute("combine")
    return h * 3


def trace_of(schedule: str, host: bool) -> list[TraceEntry]:
    device = RecordingBackend()
    rows = np.arange(24.0).reshape(12, 2)
    with microbatch.wrap(
        yielding,
        backend=device.name,
        plugins=GivenBackends(device),
        schedule=schedule,
        num_ubatches=4,
        policy="fixed",
    ) as wrapped:
        result = wrapped(rows if host and schedule == "streamed" else device.array(rows - 1) + 1)
        np.testing.assert_array_equal(np.asarray(result), (rows * 2 + 1) * 3)
    return list(device.trace.entries)


@pytest.mark.parametrize(("schedule", "host"), CASES)
def test_it_finds_nothing_in_a_step(schedule: str, host: bool) -> None:
    assert Judge().errors(trace_of(schedule, host)) == []


def both_see(race: Race) -> bool:
    """Whether both accesses begin at the same byte: torch knows an array by where it begins."""
    return race.second.kind == race.first.kind == "launch" and all(
        any(access.block == race.block and access.low == race.low for access in entry.accesses)
        for entry in (race.first, race.second)
    )


@pytest.mark.parametrize(("schedule", "host"), CASES[1:])
def test_it_finds_what_a_missing_wait_leaves_unordered(schedule: str, host: bool) -> None:
    """Some waits only repeat what others order; where our checker sees a race without one, it must too."""
    entries = trace_of(schedule, host)
    needed = found = 0
    for index, entry in enumerate(entries):
        if entry.kind != "wait":
            continue
        seeded = entries[:index] + entries[index + 1 :]
        races = [race for race in check(tuple(seeded)).races if both_see(race)]
        needed += bool(races)
        judged = bool(Judge().errors(seeded))
        found += judged
        assert judged or not races, (entry, races[0])
    assert found == needed > 0
