"""The figures of a recording: how much lies under compute, who was idle, where the critical path lies.

Invariant: every figure follows from the bars alone, and is that of a calculation by hand. Where a step has
bars of a device, what its threads did is launching: then the device's bars say what overlapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from microbatch.timeline.bars import AROUND, MOVING, WAITING, Bar, SeenStep
from microbatch.timeline.critical_path import path_of
from microbatch.timeline.intervals import Interval, common, joined, length

Shares = tuple[tuple[str, float], ...]
"""(name, share from 0 to 1) each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures; `print` shows them as text."""

    steps: int
    """Steps that were not called inside of others."""
    ubatches: int
    """Ubatches of all steps."""
    seconds: float
    """Time in which at least one step ran."""
    phases: tuple[tuple[str, float], ...]
    """(phase, seconds) over all lanes, longest first."""
    moving_seconds: float
    """Time of communication and copies, over all ubatches."""
    hidden: float | None
    """Share of that time in which some ubatch computed; None where nothing was moved."""
    idle: Shares
    """Of each lane the share of `seconds` in which nothing was done on it."""
    path: Shares
    """Where the critical path lies: the share of each phase, largest first; `other` is no phase."""
    left_out: int = 0
    """Bars that were not kept; where there are some, the other figures are of those that were."""

    def __str__(self) -> str:
        return "\n".join(f"{name:<14} {value}" for name, value in self._lines())

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        from html import escape

        lines = self._lines()
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in lines)
        return f"<table>{rows}</table>"

    def _lines(self) -> list[tuple[str, str]]:
        counts = f"{_counted(self.steps, 'step')}, {_counted(self.ubatches, 'ubatch', 'es')}"
        moved = f"{self.moving_seconds:.3g} s, {self.hidden or 0.0:.0%} of it under compute"
        lines = [
            ("recorded", f"{counts}, {self.seconds:.4g} s"),
            ("phases", ", ".join(f"{phase} {seconds:.3g} s" for phase, seconds in self.phases)),
            ("communication", "none" if self.hidden is None else moved),
            ("idle", _told(self.idle)),
            ("critical path", _told(self.path)),
            ("left out", f"{self.left_out:,} bars, as there were too many" if self.left_out else ""),
        ]
        return [(name, text) for name, text in lines if text]


def summary_of(bars: Sequence[Bar], steps: Sequence[SeenStep], left_out: int = 0) -> Summary:
    """The figures of `bars`."""
    outer = [step for step in steps if step.inside is None]
    spans = joined((step.start, step.end) for step in outer) or _hull(bars)
    timed = {bar.step for bar in bars if bar.kind == "stream"}
    seen = [bar for bar in bars if bar.phase not in AROUND]
    told = [bar for bar in seen if bar.step not in timed or bar.kind != "thread"]
    moving = [bar for bar in told if bar.phase in MOVING]
    under = joined((bar.start, bar.end) for bar in told if bar.phase == "compute")
    total = sum(bar.seconds for bar in moving)
    hidden = sum(length(common([(bar.start, bar.end)], under)) for bar in moving)
    return Summary(
        steps=len(outer),
        ubatches=len({(bar.step, bar.ubatch) for bar in seen if bar.ubatch is not None}),
        seconds=length(spans),
        phases=_largest(_by_phase(seen)),
        moving_seconds=total,
        hidden=hidden / total if total else None,
        idle=_idle(seen, spans),
        path=_path(told, spans),
        left_out=left_out,
    )


def _idle(bars: Sequence[Bar], spans: list[Interval]) -> Shares:
    """Of each lane, in order of their names."""
    whole, made = length(spans), []
    for lane in sorted({bar.lane for bar in bars}):
        busy = joined((bar.start, bar.end) for bar in bars if bar.lane == lane and bar.phase not in WAITING)
        made.append((lane, 1.0 - length(common(busy, spans)) / whole if whole else 0.0))
    return tuple(made)


def _path(bars: Sequence[Bar], spans: list[Interval]) -> Shares:
    whole, seconds = length(spans), dict[str, float]()
    for span in spans:
        for phase, part in path_of(bars, span).items():
            seconds[phase] = seconds.get(phase, 0.0) + part
    return _largest({phase: part / whole for phase, part in seconds.items()}) if whole else ()


def _by_phase(bars: Iterable[Bar]) -> dict[str, float]:
    made: dict[str, float] = {}
    for bar in bars:
        made[bar.phase] = made.get(bar.phase, 0.0) + bar.seconds
    return made


def _largest(values: dict[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(values.items(), key=lambda item: (-item[1], item[0])))


def _hull(bars: Sequence[Bar]) -> list[Interval]:
    return joined([(min(bar.start for bar in bars), max(bar.end for bar in bars))]) if bars else []


def _counted(count: int, word: str, plural: str = "s") -> str:
    return f"{count:,} {word}{plural if count != 1 else ''}"


def _told(shares: Shares, most: int = 8) -> str:
    shown = ", ".join(f"{name} {share:.0%}" for name, share in shares[:most])
    return f"{shown}, and {len(shares) - most} more" if len(shares) > most else shown
