"""The work of the GPU table, and the hand-written programs it is compared with. Runs on the CPU too, at toy
size.

Invariant: nothing here times anything. Every program leaves its device idle when it returns, so that a clock
around it measures the work and not the launching.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from benchmarks.gpu_scale import DRY, Scale
from microbatch import dbo

__all__ = ["DRY", "Scale"]


def finish(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        torch.cuda.synchronize()


def on(stream: Any) -> AbstractContextManager[Any]:
    """Make a stream current; nothing on the CPU, which has none."""
    return nullcontext() if stream is None else torch.cuda.stream(stream)


def new_stream(device: str) -> Any:
    """A stream; None on the CPU."""
    return torch.cuda.Stream() if device == "cuda" else None


def host_batch(scale: Scale) -> tuple[torch.Tensor, torch.Tensor]:
    """A pinned host batch, and room for its result."""
    rows = scale.host_bytes // (4 * scale.width)
    pinned = scale.device == "cuda"
    batch = torch.empty(rows, scale.width, pin_memory=pinned).normal_()
    return batch, torch.empty(rows, scale.width, pin_memory=pinned)


def chain(scale: Scale) -> Callable[[torch.Tensor], torch.Tensor]:
    """Products with square matrices that keep the size of the values."""
    weights = [
        torch.nn.init.orthogonal_(torch.empty(scale.width, scale.width)) for _ in range(scale.products)
    ]
    placed = [weight.to(scale.device) for weight in weights]

    def run(x: torch.Tensor) -> torch.Tensor:
        for weight in placed:
            x = x @ weight
        return x

    return run


def plain_copies(scale: Scale, function: Any, batch: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """All in, compute, all out."""
    out.copy_(function(batch.to(scale.device, non_blocking=True)))
    finish(scale.device)
    return out


def double_buffering(
    scale: Scale, function: Any, batch: torch.Tensor, out: torch.Tensor, parts: int
) -> torch.Tensor:
    """Two streams in turn, each copying in, computing and copying out its part: what experts write by
    hand."""
    streams = [new_stream(scale.device) for _ in range(2)]
    for index, (source, target) in enumerate(zip(batch.chunk(parts), out.chunk(parts), strict=True)):
        with on(streams[index % 2]):
            target.copy_(function(source.to(scale.device, non_blocking=True)), non_blocking=True)
    finish(scale.device)
    return out


class LaunchBound(torch.nn.Module):
    """Many layers of little work each, so that launching takes longer than computing."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        made = [torch.nn.Linear(scale.small, scale.small) for _ in range(scale.layers)]
        self.layers = torch.nn.ModuleList(made).to(scale.device).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [rows, small]."""
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        return x


class Overlapping:
    """Layers that compute, then communicate; a copy kernel stands for the exchange, as there is no peer."""

    def __init__(self, scale: Scale, *, moves: int = 4) -> None:
        self.scale, self.moves = scale, moves
        self.weight = torch.nn.init.orthogonal_(torch.empty(scale.width, scale.width)).to(scale.device)

    def compute(self, x: torch.Tensor) -> torch.Tensor:
        """One product."""
        return x @ self.weight

    def communicate(self, x: torch.Tensor) -> torch.Tensor:
        """Bytes moved `moves` times, as dispatch and combine of an expert layer do."""
        for _ in range(self.moves):
            x = x.clone()
        return x

    def serial(self, x: torch.Tensor) -> torch.Tensor:
        """No overlap."""
        for _ in range(self.scale.layers):
            x = self.communicate(self.compute(x))
        finish(self.scale.device)
        return x

    def yielding(self, x: torch.Tensor) -> torch.Tensor:
        """The same layers with yield points."""
        for _ in range(self.scale.layers):
            x = self.compute(x)
            dbo.dbo_yield_and_switch_from_compute_to_comm()
            x = self.communicate(x)
            dbo.dbo_yield_and_switch_from_comm_to_compute()
        return x

    def event_ring(self, x: torch.Tensor) -> torch.Tensor:
        """Two threads started for the step that hand over by `threading.Event`, two streams, an event at
        each switch."""
        halves = list(x.chunk(2))
        turns = [threading.Event() for _ in halves]
        compute, communication = new_stream(self.scale.device), new_stream(self.scale.device)
        ready = None
        if compute is not None:
            ready = torch.cuda.Event()
            ready.record()
            compute.wait_event(ready)

        def body(index: int) -> None:
            mine, other = turns[index], turns[1 - index]
            mine.wait()
            mine.clear()
            part = halves[index]
            for _ in range(self.scale.layers):
                with on(compute):
                    part = self.compute(part)
                self._hand_over(compute, communication, mine, other)
                with on(communication):
                    part = self.communicate(part)
                self._hand_over(communication, compute, mine, other)
            halves[index] = part
            other.set()

        threads = [threading.Thread(target=body, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        turns[0].set()
        for thread in threads:
            thread.join()
        finish(self.scale.device)
        return torch.cat(halves)

    @staticmethod
    def _hand_over(source: Any, target: Any, mine: threading.Event, other: threading.Event) -> None:
        done = None
        if source is not None:
            done = torch.cuda.Event()
            done.record(source)
        other.set()
        mine.wait()
        mine.clear()
        if target is not None:
            target.wait_event(done)


def halve_and_restart(function: Any, x: torch.Tensor) -> torch.Tensor:
    """Run all parts at one size; after out-of-memory, all of them again at half of it."""
    size = len(x)
    while True:
        try:
            return torch.cat([function(part) for part in x.split(size)])
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        torch.cuda.empty_cache()
        size //= 2
