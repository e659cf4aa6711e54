"""How all pictures look: colours, sizes of letters, and where they are written.

Invariant: colours differ in lightness too, so that a picture can be read in grey; the ground is white, as the
site shows pictures on white in its dark mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
COLOURS = ("#1f4e8c", "#e08a1e", "#3f9b62", "#b04a7a")
"""Of ubatch 0, 1, 2 and 3."""
GREY, RED, INK = "#d9dce1", "#c03020", "#20242a"
SETTINGS = {"font.size": 11, "svg.hashsalt": "microbatch", "svg.fonttype": "path"}
"""The same drawing gives the same file."""


def canvas(width: float, height: float, ratios: Sequence[float] = (1,)) -> tuple[Figure, list[Any]]:
    """A figure in inches with axes above each other, their heights in these ratios."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = figure.subplots(len(ratios), 1, squeeze=False, height_ratios=list(ratios))
    return figure, [row[0] for row in axes]


def bare(axes: Any) -> None:
    """No frame, no ticks: a drawing."""
    axes.set_axis_off()


def box(
    axes: Any, place: tuple[float, float], size: tuple[float, float], colour: str, text: str = ""
) -> None:
    """A bar with its lower left corner at `place`, and a text in it."""
    axes.broken_barh(
        [(place[0], size[0])], (place[1], size[1]), facecolors=colour, edgecolors="white", linewidth=0.8
    )
    if text:
        middle = (place[0] + size[0] / 2, place[1] + size[1] / 2)
        dark = colour == GREY
        axes.text(*middle, text, ha="center", va="center", color=INK if dark else "white", fontsize=10)


def save(figure: Figure, name: str, folder: Path) -> Path:
    """Write it as SVG; the path."""
    path = folder / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
    return path
