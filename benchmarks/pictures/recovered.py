"""Memory over time of a step in which a part runs out of memory and runs again in halves.

Invariant: the engine, its recovery and the device's allocator are the real ones; the device is simulated, so
that it has exactly so much memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import microbatch
from benchmarks.pictures.style import COLOURS, GREY, INK, RED, canvas, save
from microbatch.testing import AdversarialBackend, DeviceOutOfMemoryError, MemoryModel, WorkOrder
from microbatch.testing.given_plugins import GivenBackends

MIB = 1 << 20
ROWS, WIDTH = 4096, 64
CAPACITY = 31 * MIB // 4
OPERATIONS = 6
"""Operations of the function; each holds an array of the part."""


class Watched:
    """A function that keeps what the device had in use after each of its operations."""

    def __init__(self, device: AdversarialBackend) -> None:
        self._device = device
        self.seen: list[tuple[int, float]] = []
        self.failed: list[int] = []
        self._calls: dict[int, int] = {}

    def __call__(self, x: Any) -> Any:
        """Rows [n, 64] to rows of the same shape; holds an array of the part for each operation."""
        rows = len(x)
        try:
            held = [x * 2.0]
            self._look(rows)
            for _ in range(OPERATIONS - 1):
                held.append(held[-1] + 1.0)
                self._look(rows)
        except DeviceOutOfMemoryError:
            self.failed.append(len(self.seen))
            self._look(rows)
            raise
        return held[-1]

    def _look(self, rows: int) -> None:
        self.seen.append((rows, self._device.memory().in_use / MIB))


def recovery(folder: Path) -> Path:
    """Two parts were asked for; each is too large, and runs in halves."""
    device = AdversarialBackend(WorkOrder(), model=MemoryModel(capacity=CAPACITY, caching=False))
    watched = Watched(device)
    x = device.array(np.ones((ROWS, WIDTH)))
    with microbatch.wrap(
        watched,
        backend="adversarial",
        plugins=GivenBackends(device),
        schedule="sequential",
        num_ubatches=2,
        verify="never",
    ) as step:
        step(x)
    return _draw(watched, folder)


def _draw(watched: Watched, folder: Path) -> Path:
    figure, (axes,) = canvas(9.5, 3.8)
    start = 0
    for call, (stop, rows, failed) in enumerate(calls(watched)):
        colour = RED if failed else COLOURS[(0, 2)[call % 2]]
        heights = [mib for _, mib in watched.seen[start:stop]]
        axes.bar(range(start, stop), heights, width=1.0, color=colour, edgecolor="white", linewidth=0.5)
        axes.text((start + stop - 1) / 2, 0.25, f"{rows:,} rows", ha="center", color="white", fontsize=10)
        start = stop
    axes.axhline(CAPACITY / MIB, color=INK, linewidth=1)
    axes.text(start - 0.5, CAPACITY / MIB + 0.1, "memory there is", ha="right", color=INK, fontsize=10)
    axes.set_ylim(0, CAPACITY / MIB * 1.1)
    axes.set_xticks([])
    axes.set_xlabel("operations of the function, one after another (red: a call that ran out of memory)")
    axes.set_ylabel("memory in use (MiB)")
    axes.grid(axis="y", color=GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    return save(figure, "recovery", folder)


def calls(watched: Watched) -> list[tuple[int, int, bool]]:
    """Of each call where its looks end, its rows, and whether it failed; one that did not has all."""
    found, start = [], 0
    while start < len(watched.seen):
        failed = [place for place in watched.failed if start <= place < start + OPERATIONS]
        stop = failed[0] + 1 if failed else start + OPERATIONS
        found.append((stop, watched.seen[start][0], bool(failed)))
        start = stop
    return found
