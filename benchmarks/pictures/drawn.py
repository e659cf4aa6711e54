"""Pictures that explain and measure nothing: one batch on its way, and the four schedules.

Invariant: lengths in them are made up; the pictures of what was measured are elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.pictures.style import COLOURS, GREY, INK, bare, box, canvas, save

PARTS = 4
ROWS = 12


def one_batch(folder: Path) -> Path:
    """A batch is cut, its parts overlap, and the outputs are put together."""
    figure, (axes,) = canvas(9.5, 3.5)
    bare(axes)
    _rows(axes, 0.0, plain=True)
    _rows(axes, 2.2, plain=False)
    for part in range(PARTS):
        _lane(axes, part)
    _rows(axes, 11.6, plain=False)
    for x, text in ((0.5, "one batch"), (2.7, "cut"), (7.3, "run, overlapping"), (12.1, "put together")):
        axes.text(x, 4.75, text, ha="center", color=INK, fontsize=12)
    for start, stop in ((1.15, 2.05), (3.35, 4.25), (10.55, 11.45)):
        _arrow(axes, start, stop)
    axes.text(0.5, -0.4, "12 rows", ha="center", va="top", color=INK)
    axes.text(7.3, -0.4, "time →", ha="center", va="top", color=INK)
    axes.text(12.1, -0.4, "12 rows,\neach once", ha="center", va="top", color=INK)
    axes.set_xlim(-0.3, 13)
    axes.set_ylim(-1.35, 5.2)
    return save(figure, "one-batch", folder)


def _rows(axes: Any, x: float, *, plain: bool) -> None:
    """Twelve rows as bars above each other."""
    for row in range(ROWS):
        colour = GREY if plain else COLOURS[row * PARTS // ROWS]
        gap = 0.0 if plain or x > 10 else 0.12 * (row * PARTS // ROWS)
        box(axes, (x, 4.1 - row * 0.34 - gap), (1.0, 0.3), colour)


def _lane(axes: Any, part: int) -> None:
    """A ubatch that computes, then moves its data while the next one computes."""
    y, start = 3.55 - part * 1.08, 4.5 + part * 1.35
    box(axes, (start, y), (1.3, 0.62), COLOURS[part], "compute")
    axes.broken_barh(
        [(start + 1.35, 1.1)], (y, 0.62), facecolors="white", edgecolors=COLOURS[part], hatch="///"
    )
    if part == 0:
        axes.text(start + 2.6, y + 0.31, "copy, or communicate", va="center", color=INK, fontsize=10)


def _arrow(axes: Any, start: float, stop: float) -> None:
    arrow = {"arrowstyle": "-|>", "color": INK, "lw": 1.4}
    axes.annotate("", xy=(stop, 2.1), xytext=(start, 2.1), arrowprops=arrow)


Span = tuple[int, float, float, str]
"""Ubatch, start, length, and what is written in it."""
LANES: dict[str, tuple[str, dict[str, list[Span]]]] = {
    "sequential": (
        "one part after another, in the caller's thread",
        {"thread": [(part, part * 2.0, 2.0, f"{part}") for part in range(4)]},
    ),
    "parallel": (
        "parts side by side, on as many threads as there are cores",
        {
            "thread 1": [(0, 0.0, 2.0, "0"), (2, 2.0, 2.0, "2")],
            "thread 2": [(1, 0.0, 2.0, "1"), (3, 2.0, 2.0, "3")],
        },
    ),
    "pingpong": (
        "parts take turns: one computes while another communicates",
        {
            "compute": [(0, 0.0, 1.0, "0"), (1, 1.0, 1.0, "1"), (0, 2.0, 1.0, "0"), (1, 3.0, 1.0, "1")],
            "network": [(0, 1.0, 1.0, "0"), (1, 2.0, 1.0, "1"), (0, 3.0, 1.0, "0"), (1, 4.0, 1.0, "1")],
        },
    ),
    "streamed": (
        "a part is copied in while the one before computes and the one before that is copied out",
        {
            "copy in": [(part, part * 1.0, 1.0, f"{part}") for part in range(4)],
            "compute": [(part, 1.0 + part, 1.0, f"{part}") for part in range(4)],
            "copy out": [(part, 2.0 + part, 1.0, f"{part}") for part in range(4)],
        },
    ),
}
"""What each schedule does with parts; lengths are made up."""


def schedules(folder: Path) -> Path:
    """The same parts under each schedule."""
    lanes_of = [len(lanes) for _, lanes in LANES.values()]
    figure, all_axes = canvas(9.5, 6.0, lanes_of)
    for axes, (name, (says, lanes)) in zip(all_axes, LANES.items(), strict=True):
        bare(axes)
        axes.set_title(f"{name}: {says}", loc="left", fontsize=11.5, color=INK)
        for row, (lane, spans) in enumerate(lanes.items()):
            axes.text(-0.15, -row + 0.4, lane, ha="right", va="center", color=INK)
            for part, start, length, text in spans:
                box(axes, (start, -row), (length, 0.8), COLOURS[part], text)
        axes.set_xlim(-1.6, 8.2)
        axes.set_ylim(0.7 - len(lanes), 1.0)
    return save(figure, "schedules", folder)
