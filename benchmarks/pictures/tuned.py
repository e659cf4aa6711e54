"""Throughput and peak memory against the size of a part, as `microbatch.tune` measures them here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import microbatch
from benchmarks.pictures.style import COLOURS, GREY, INK, RED, canvas, save

MIB = 1 << 20


def distances(x: np.ndarray) -> np.ndarray:
    """The nearest of 4,096 points for each row: [n, 8] -> [n]."""
    points = np.random.default_rng(1).normal(size=(4096, x.shape[1])).astype(np.float32)
    apart = (x * x).sum(1)[:, None] - 2 * x @ points.T + (points * points).sum(1)
    return apart.argmin(1)


def tune(folder: Path) -> Path:
    """Sizes from 1 row to 8,192."""
    x = np.random.default_rng(0).normal(size=(8192, 8)).astype(np.float32)
    report = microbatch.tune(distances, x)
    figure, (above, below) = canvas(9.5, 5.2, (1, 1))
    sizes = [point.size for point in report.points]
    above.plot(sizes, [point.rows_per_second / 1e3 for point in report.points], "o-", color=COLOURS[0])
    above.set_ylabel("thousand rows/s")
    peaks = [(point.size, point.peak_bytes / MIB) for point in report.points if point.peak_bytes]
    below.plot(*zip(*peaks, strict=True), "s-", color=COLOURS[1])
    below.set_ylabel("peak memory (MiB)")
    below.set_xlabel("rows in a part")
    for axes in (above, below):
        axes.set_xscale("log", base=2)
        axes.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.set_ylim(bottom=0)
        axes.axvline(report.chosen, color=RED, linewidth=1)
        axes.grid(color=GREY, linewidth=0.6)
    above.text(report.chosen * 1.07, 0, f"chosen: {report.chosen:,} rows", color=RED, va="bottom")
    above.set_title("speed stops growing early, memory does not", loc="left", color=INK, fontsize=11.5)
    return save(figure, "tune", folder)
