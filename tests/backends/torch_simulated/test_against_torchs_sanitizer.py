"""Drawn programs: what `races()` finds first is what torch's own sanitizer finds first.

Invariant: the programs touch whole tensors from one host thread, where both apply.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
sanitizer = pytest.importorskip("torch.cuda._sanitizer", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from microbatch.testing import torch_device
from microbatch.testing.recording.trace import TraceEntry

PROGRAMS = 250


def first_of_torch(entries: list[TraceEntry]) -> int | None:
    """The entry at which torch's sanitizer first complains, told what a real device tells it."""
    handler, known = sanitizer.EventHandler(), set[Any]()
    for index, entry in enumerate(entries):
        for name, made in ((entry.stream, handler._handle_stream_creation),):
            if name is not None and name not in known:
                known.add(name)
                made(name)
        if entry.kind in ("launch", "alloc"):
            read = {access.block for access in entry.accesses if not access.write}
            written = {access.block for access in entry.accesses if access.write}
            if handler._handle_kernel_launch(
                entry.stream, read - written, written, set(), "op", {block: [] for block in read | written}
            ):
                return index
        elif entry.kind == "record":
            handler._handle_event_record(entry.token, entry.stream)
        elif entry.kind == "wait":
            handler._handle_event_wait(entry.token, entry.stream)
        elif entry.kind == "sync_stream":
            handler._handle_stream_synchronization(entry.stream)
        elif entry.kind == "sync_event":
            handler._handle_event_synchronization(entry.token)
        elif entry.kind == "sync_device":
            handler._handle_device_synchronization()
    return None


def run(draw: random.Random) -> None:
    """A few operations on three streams, with some waits between them."""
    streams = [torch.cuda.current_stream(), torch.cuda.Stream(), torch.cuda.Stream()]
    tensors = [torch.ones(4, device="cuda") for _ in range(3)]
    if draw.random() < 0.5:
        for stream in streams[1:]:
            stream.wait_stream(streams[0])
    for _ in range(draw.randrange(2, 12)):
        stream, other = draw.choice(streams), draw.choice(streams)
        place, source = draw.randrange(3), draw.choice(tensors)
        with torch.cuda.stream(stream):
            match draw.randrange(7):
                case 0:
                    tensors[place] = source + 1
                case 1:
                    tensors[place].add_(source)
                case 2 | 3 | 4:
                    stream.wait_stream(other)
                case 5:
                    source.sum().item()
                case 6:
                    other.synchronize()


def test_both_find_the_same_first() -> None:
    """Racy programs and sound ones; both directions."""
    racy = 0
    for seed in range(PROGRAMS):
        with torch_device(seed) as device:
            try:
                run(random.Random(seed))
            except RuntimeError as error:  # a program that ends early has a shorter trace
                raise AssertionError(seed) from error
            trace: Any = device.operations.device.trace  # type: ignore[attr-defined]
            found = min((race.second_index for race in device.races()), default=None)
        assert found == first_of_torch(trace.entries), seed
        racy += found is not None
    assert 0.2 < racy / PROGRAMS < 0.9
