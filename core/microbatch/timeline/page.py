"""Bars as one page that needs nothing else: a picture, the figures, what the doctor says.

Invariant: the page loads nothing, which its own policy forbids too; without scripts it is still a picture.
All texts that came from elsewhere (labels, names of threads) are escaped, in the data of its script as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from microbatch.timeline.bars import Bar

ROW = 28
"""Pixels of a lane."""
LEGEND = ("cut", "compute", "communicate", "copy in", "store", "wait")
"""One phase of each colour."""


def page_of(bars: Sequence[Bar], summary: str, doctor: str) -> str:
    """The page; `summary` and `doctor` are HTML."""
    shown = [bar for bar in bars if bar.phase != "step"] or list(bars)
    first = min((bar.start for bar in shown), default=0.0)
    seconds = max((bar.end for bar in shown), default=0.0) - first
    lanes = {lane: number for number, lane in enumerate(dict.fromkeys(_in_order(shown)))}
    height = ROW * max(1, len(lanes))
    parts = {
        "LEGEND": "".join(f'<li class="{_word(name)}"><i></i>{name}</li>' for name in LEGEND),
        "LANES": "".join(f'<div title="{escape(lane)}">{escape(lane)}</div>' for lane in lanes),
        "ROWS": "".join(_row(number) for number in range(1, len(lanes), 2)),
        "BARS": "\n".join(_rects(shown, lanes, (first, seconds))),
        "HEIGHT": str(height),
        "SUMMARY": summary,
        "DOCTOR": doctor,
        "DATA": _data(shown, lanes, first, seconds),
    }
    page = files("microbatch.timeline").joinpath("page.html").read_text("utf-8")
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], page)


def _in_order(bars: Sequence[Bar]) -> list[str]:
    """Lanes of threads, then of streams, then of collectives, each in order of their first bar."""
    return [bar.lane for kind in ("thread", "stream", "collective") for bar in bars if bar.kind == kind]


def _rects(bars: Sequence[Bar], lanes: dict[str, int], span: tuple[float, float]) -> Iterator[str]:
    """A rectangle a bar; the picture is 1000 wide."""
    first, scale = span[0], 1000 / (span[1] or 1.0)
    for place, bar in enumerate(bars):
        x, y, width = (bar.start - first) * scale, lanes[bar.lane] * ROW + 5, bar.seconds * scale
        yield (
            f'<rect class="{_word(bar.phase)}" data-i="{place}" x="{x:.4f}" y="{y}"'
            f' width="{width:.4f}" height="{ROW - 10}"/>'
        )


def _row(number: int) -> str:
    return f'<rect class="row" x="0" y="{number * ROW}" width="1000" height="{ROW}"/>'


def _data(bars: Sequence[Bar], lanes: dict[str, int], first: float, seconds: float) -> str:
    rows = [
        [
            lanes[bar.lane],
            bar.phase,
            round(bar.start - first, 9),
            round(bar.seconds, 9),
            bar.step,
            bar.ubatch,
            bar.label,
        ]
        for bar in bars
    ]
    text = json.dumps({"bars": rows, "lanes": list(lanes), "seconds": seconds}, ensure_ascii=True)
    return text.replace("<", "\\u003c")


def _word(phase: str) -> str:
    return phase.replace(" ", "-")
