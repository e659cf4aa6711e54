"""The picture of `microbatch tune`: throughput and peak memory against size.

Invariant: whether it can be drawn (matplotlib, folder, kind of file) is found before anything is measured,
and the file is whole or as it was.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from microbatch.cli.outputs import in_the_making
from microbatch.cli.run_state import RunState
from microbatch.errors import OutputFileError
from microbatch.extend.records import unit_label
from microbatch.files.places import check_place
from microbatch.files.whole_file import WholeFile
from microbatch.tuning.report import MIB, TuneReport

KINDS = (".png", ".svg")
BLUE, RED, GREY = "#2060a0", "#c03020", "#888888"
CHOSEN: Mapping[str, Any] = MappingProxyType(
    {"marker": "o", "linestyle": "", "color": RED, "markersize": 11, "fillstyle": "none"}
)
"""How the chosen size is marked."""


def check_plot(path: Path) -> None:
    """Raise OutputFileError if no picture can be written to `path`."""
    check_place(path, KINDS, "drawn")
    if importlib.util.find_spec("matplotlib") is None:
        raise OutputFileError("--plot needs matplotlib, which is not installed; pip install microbatch[plot]")


def draw(report: TuneReport, title: str, path: Path, state: RunState) -> None:
    """Write the picture; raises OutputFileError where the system refuses."""
    picture = io.BytesIO()
    _figure(report, title).savefig(picture, dpi=150, format=path.suffix[1:].lower())
    with in_the_making(lambda: WholeFile(path, KINDS, "drawn"), state) as file:
        file.write(picture.getvalue())


def _figure(report: TuneReport, title: str) -> Any:
    figure = import_module("matplotlib.figure").Figure(figsize=(7, 6.5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    sizes = [point.size for point in report.points]
    _throughput(above, report, sizes)
    _memory(below, report, sizes)
    above.set_title(title)
    above.set_ylim(bottom=0)
    below.set_xlabel(f"size of a part ({unit_label(report.unit)})")
    below.set_xscale("log", base=2)
    for axes in (above, below):
        axes.axvline(report.chosen, color=GREY, linestyle=":")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:,.10g}")  # as people write it: neither 2^14 nor 10^3
    return figure


def _throughput(axes: Any, report: TuneReport, sizes: list[int]) -> None:
    axes.plot(sizes, [point.rows_per_second for point in report.points], "o-", color=BLUE, label="measured")
    chosen = next(point for point in report.points if point.size == report.chosen)
    label = f"chosen: {chosen.size:,} {unit_label(report.unit)}"
    axes.plot([chosen.size], [chosen.rows_per_second], label=label, **CHOSEN)
    axes.set_ylabel("rows per second")


def _memory(axes: Any, report: TuneReport, sizes: list[int]) -> None:
    peaks = [(point.size, point.peak_bytes / MIB) for point in report.points if point.peak_bytes]
    bounds = [(point.size, point.predicted_bytes / MIB) for point in report.points if point.predicted_bytes]
    if peaks:
        axes.plot(*zip(*peaks, strict=True), "o-", color=BLUE, label="measured peak")
    if bounds:
        axes.plot(*zip(*bounds, strict=True), "--", color=RED, label="predicted bound")
    highest = max([value for _, value in (*peaks, *bounds)], default=0.0)
    if report.budget_bytes / MIB < 4 * highest:
        axes.axhline(report.budget_bytes / MIB, color=RED, linewidth=1, label="memory there is")
    else:
        axes.plot([], [], " ", label=f"{report.budget_bytes / MIB:,.0f} MiB may be used")
    for size, value in peaks:
        if size == report.chosen:
            axes.plot([size], [value], **CHOSEN)
    if peaks or bounds:
        axes.set_yscale("log")  # the small sizes would lie on the axis otherwise
    axes.set_ylabel("peak memory (MiB)")
