"""The figures of a recording equal a calculation by hand, over drawn schedules and small whole times."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from microbatch.timeline.bars import MOVING, Bar, SeenStep
from microbatch.timeline.summary import Summary, summary_of
from tests.support.drawn_bars import END, schedules

NO_WORK = ("wait", "yield", "step", "nested")


def covers(bar: Bar | SeenStep, unit: int) -> bool:
    """Whether the unit of time from `unit` to `unit + 1` is in `bar`."""
    return bar.start <= unit and unit + 1 <= bar.end


def counted_as(bars: list[Bar]) -> list[Bar]:
    """Bars that tell what overlapped: of a step with streams only those."""
    timed = {bar.step for bar in bars if bar.kind == "stream"}
    return [bar for bar in bars if bar.phase != "nested" and (bar.kind == "stream" or bar.step not in timed)]


def units(bars: list[Bar], steps: list[SeenStep]) -> list[int]:
    """The units of time in which a step runs; without steps, those from the first bar to the last."""
    outer = [step for step in steps if step.inside is None and step.end > step.start]
    if outer:
        return [unit for unit in range(END) if any(covers(step, unit) for step in outer)]
    if not bars:
        return []
    return list(range(int(min(b.start for b in bars)), int(max(b.end for b in bars))))


def path_by_hand(bars: list[Bar], span: list[int]) -> dict[str, int]:
    """Go back in time, a unit after the other, from the end of each stretch of `span` to its start."""
    work = [bar for bar in bars if bar.phase not in NO_WORK and bar.end > bar.start]
    found: dict[str, int] = {}
    current: Bar | None = None
    on_it = False
    for unit in reversed(span):
        if unit + 1 not in span:
            current, on_it = None, False
        if on_it and current is not None and current.start > unit:
            on_it = False
        if not on_it:
            ending = [bar for bar in work if bar.end == unit + 1]
            if ending:
                after = current
                best = max(
                    range(len(ending)),
                    key=lambda at: (
                        after is not None
                        and (after.step, after.ubatch) == (ending[at].step, ending[at].ubatch),
                        after is not None and after.lane == ending[at].lane,
                        ending[at].end - ending[at].start,
                        at,
                    ),
                )
                current, on_it = ending[best], True
        phase = current.phase if on_it and current is not None else "other"
        found[phase] = found.get(phase, 0) + 1
    return found


def as_dict(shares: Any) -> dict[str, float]:
    return dict(shares)


@given(schedules())
def test_figures_equal_a_calculation_by_hand(schedule: tuple[list[Bar], list[SeenStep]]) -> None:
    """Shares under compute, idle shares and the critical path, counted in units of time."""
    bars, steps = schedule
    got: Summary = summary_of(bars, steps)
    told, span = counted_as(bars), units([b for b in bars if b.phase != "step"], steps)
    moved = [(bar, unit) for bar in told if bar.phase in MOVING for unit in range(END) if covers(bar, unit)]
    under = [unit for _, unit in moved if any(bar.phase == "compute" and covers(bar, unit) for bar in told)]
    assert got.seconds == len(span)
    assert got.moving_seconds == len(moved)
    assert got.hidden == (pytest.approx(len(under) / len(moved)) if moved else None)
    for lane, idle in got.idle:
        busy = [
            unit
            for unit in span
            if any(b.lane == lane and b.phase not in NO_WORK and covers(b, unit) for b in bars)
        ]
        assert idle == pytest.approx(1 - len(busy) / len(span) if span else 0.0)
    by_hand = {phase: count / len(span) for phase, count in path_by_hand(told, span).items()}
    assert as_dict(got.path) == pytest.approx(by_hand)
    assert sum(as_dict(got.path).values()) == pytest.approx(1.0 if span else 0.0)
