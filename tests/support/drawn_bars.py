"""Drawn bars and steps, for tests of what is made of a recording."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from microbatch.timeline.bars import Bar, Phase, SeenStep

END = 24
"""Times are whole numbers up to this."""


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[Bar], list[SeenStep]]:
    """Bars of up to two steps with three ubatches on three lanes, in any place, and the steps."""
    bars = []
    for _ in range(draw(st.integers(0, 12))):
        start = draw(st.integers(0, END - 1))
        phase: Phase = draw(st.sampled_from([name for name in get_args(Phase) if name != "step"]))
        bars.append(
            Bar(
                phase=phase,
                start=start,
                end=draw(st.integers(start, END)),
                lane=draw(st.sampled_from("abc")),
                step=draw(st.integers(0, 1)),
                ubatch=draw(st.sampled_from([None, 0, 1, 2])),
                kind=draw(st.sampled_from(["thread", "thread", "stream"])),
            )
        )
    steps = []
    for number in range(draw(st.integers(0, 2))):
        start, end = sorted((draw(st.integers(0, END)), draw(st.integers(0, END))))
        inside = 0 if number and draw(st.booleans()) else None
        steps.append(SeenStep(number=number, inside=inside, name="f", start=start, end=end, report=None))
    return bars, steps
