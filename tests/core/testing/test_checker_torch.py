"""The checker against PyTorch's own sanitizer, where both apply: one host thread, whole buffers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from microbatch.testing.recording.checker import check
from microbatch.testing.recording.trace import TraceEntry

sanitizer = pytest.importorskip("torch.cuda._sanitizer", reason="PyTorch is not installed")

TRACES = 1_500


def first_of_torch(entries: list[TraceEntry]) -> int | None:
    handler = sanitizer.EventHandler()
    for stream in range(3):
        handler._handle_stream_creation(stream)
    for event in range(2):
        handler._handle_event_creation(event)
    for index, entry in enumerate(entries):
        if entry.kind == "launch":
            read = {access.block for access in entry.accesses if not access.write}
            written = {access.block for access in entry.accesses if access.write}
            names = {block: [] for block in read | written}
            if handler._handle_kernel_launch(entry.stream, read, written, set(), "op", names):
                return index
        elif entry.kind == "record":
            handler._handle_event_record(entry.token, entry.stream)
        elif entry.kind == "wait":
            handler._handle_event_wait(entry.token, entry.stream)
        elif entry.kind == "sync_stream":
            handler._handle_stream_synchronization(entry.stream)
        elif entry.kind == "sync_event":
            handler._handle_event_synchronization(entry.token)
        else:
            handler._handle_device_synchronization()
    return None


def test_it_agrees_with_torchs_sanitizer(random_trace: Callable[..., list[TraceEntry]]) -> None:
    racy = 0
    for seed in range(TRACES):
        entries = random_trace(seed, 1, 3, 2, True)
        found = min((race.second_index for race in check(entries).races), default=None)
        assert found == first_of_torch(entries), (seed, entries)
        racy += found is not None
    assert 0.1 < racy / TRACES < 0.9
