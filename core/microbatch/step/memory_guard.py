"""Whether a step must be watched, where taking too much memory is not an error but the end of the process.

Invariant: while nothing is known of a kind of batch, its first parts are small and measured
(`guarded_call.py`); what they needed bounds every later part of that kind. Rejected: trusting a factor over
the input's bytes (a search among 20,000 points needs 640 times its input).
"""

from __future__ import annotations

from dataclasses import dataclass

from microbatch.extend.abilities import PeakMark, SupportsPeak
from microbatch.sizing.plan import Plan
from microbatch.step.planned import Planned

SHARE = 0.9
"""Part of the memory that is planned with; the kernel counts in batches of pages."""
LIMITED = 4096
"""With a memory limit: a first step is watched if it would pass it with this many bytes per byte of input."""
UNLIMITED = 512
"""The same without a limit, against the memory that is left; few steps need 512 times their input."""
MEASURED = 4
"""Steps of a kind that are measured; after that only larger ones are."""
KINDS = 256
"""Kinds of batches remembered."""


@dataclass(slots=True, kw_only=True)
class Need:
    """What the batches of one signature were measured to need."""

    per_row: float = 0.0
    """Peak bytes above the start for each row in flight."""
    result_per_row: float = 0.0
    """Bytes of result per row."""
    largest: int = 0
    """Most rows in flight that were measured."""
    steps: int = 0
    """Steps that were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one watched step is held to, and what it is measured with."""

    need: Need
    """What is known of its kind, and where what it teaches goes."""
    peaks: SupportsPeak
    """Measures a stretch of work."""
    mark: PeakMark | None
    """Taken at the start of the step; None where this step is bounded and not measured."""
    budget: int
    """Bytes that it may use above its start."""
    rows: int
    """Rows of the batch."""
    size: int
    """Rows of the largest planned part."""
    flight: int
    """Rows of all parts that are planned to run at the same time."""
    bound: int | None
    """Most rows of a part; None where the plan keeps within the budget as it is."""
    pilot: bool
    """Whether nothing is known yet: the first part runs alone, in small parts."""
    given_result: bool
    """Whether the result goes to memory of the caller's, which does not count."""
    least: int
    """Bytes that a row needs at least: its input, or what it was seen to need when it was tried."""

    @property
    def side(self) -> int:
        """Parts that run at the same time."""
        return max(1, self.flight // self.size)


class MemoryGuard:
    """One per wrapper; `limit` is the user's, in bytes above the start of a step, None for all there is."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._needs: dict[str, Need] = {}
        self._shown: dict[str, int] = {}
        self.quiet: Plan | None = None
        """The last plan that is known to need no watching: the same plan is of the same memory reading."""

    def watch(self, planned: Planned, *, given_result: bool) -> Watched | None:
        """What to watch in this step; None for nothing.

        `given_result` says that the result goes to memory of the caller's, which does not count.
        """
        plan, peaks = planned.plan, planned.device.peak
        if peaks is None or not self._applies(planned):
            return None
        rows, size, flight = _sizes(planned)
        need, budget = self._known(plan.signature), self.budget(planned)
        if need is None and self._surely_fits(planned, flight, budget):
            self.quiet = plan
            return None
        mark = peaks.peak_mark() if need is None or _worth_measuring(need, flight) else None
        if need is None:
            if mark is None:
                return None
            need, pilot = self._new(plan.signature), True
            bound: int | None = 1
        else:
            pilot, bound = False, _bound(need, budget, (rows, size, flight), given_result=given_result)
            if bound is None and mark is None:
                return None
        return Watched(
            need=need,
            peaks=peaks,
            mark=mark,
            budget=budget,
            rows=rows,
            size=size,
            flight=flight,
            bound=bound,
            pilot=pilot,
            given_result=given_result,
            least=max(1, planned.batch.bytes_per_unit, self._shown.get(plan.signature, 0)),
        )

    def may_cut(self, planned: Planned) -> bool:
        """Whether a step that is planned whole may still be cut for its memory."""
        if planned.plan is self.quiet or planned.device.peak is None or not self._applies(planned):
            return False
        _, _, flight = _sizes(planned)
        if self._known(planned.plan.signature) is not None:
            return True
        return not self._surely_fits(planned, flight, self.budget(planned))

    def mark(self, planned: Planned) -> PeakMark | None:
        """Start measuring the calls that show whether the batch may be cut, where its memory matters.

        What they allocate is kept by the process and would hide what the first parts need.
        """
        peaks = planned.device.peak
        return peaks.peak_mark() if peaks is not None and self.may_cut(planned) else None

    def shown(self, planned: Planned, mark: PeakMark, rows: int) -> None:
        """Take note that such calls of up to `rows` rows ended just now."""
        if len(self._shown) >= KINDS:
            self._shown.clear()
        self._shown[planned.plan.signature] = (mark.peak() - mark.in_use) // max(1, rows)

    def fits_whole(self, planned: Planned) -> bool:
        """Whether the whole batch may be run without risk: it needs little, or running out only raises."""
        return planned.device.peak is None or self._surely_fits(planned, planned.rows, self.budget(planned))

    def _applies(self, planned: Planned) -> bool:
        """Whether steps of this kind are watched at all."""
        watched = planned.schedule in ("sequential", "parallel") and not planned.plan.fixed
        return watched and planned.rows > 1

    def budget(self, planned: Planned) -> int:
        """Bytes the step may use above its start."""
        usable = planned.memory.usable if planned.memory.capacity > 0 else 1 << 62
        return int(SHARE * (usable if self._limit is None else min(self._limit, usable)))

    def _surely_fits(self, planned: Planned, flight: int, budget: int) -> bool:
        """Whether a step of an unknown kind fits even if it needs very many times its input."""
        per_byte = UNLIMITED if self._limit is None else LIMITED
        return flight * planned.batch.bytes_per_unit * per_byte <= budget

    def _known(self, signature: str) -> Need | None:
        """What was measured to its end; a first step that failed or was interrupted leaves nothing known."""
        need = self._needs.get(signature)
        return need if need is not None and need.steps else None

    def _new(self, signature: str) -> Need:
        while len(self._needs) >= KINDS:
            del self._needs[next(iter(self._needs))]
        need = self._needs[signature] = Need()
        return need


def _bound(need: Need, budget: int, sizes: tuple[int, int, int], *, given_result: bool) -> int | None:
    """Most rows of a part: what the budget leaves beside the result, shared by the parts in flight."""
    rows, size, flight = sizes
    result = 0 if given_result else int(need.result_per_row * rows)
    most = max(1, int((budget - result) / max(need.per_row, 1.0)) // max(1, flight // size))
    return most if most < size else None


def _sizes(planned: Planned) -> tuple[int, int, int]:
    """Rows of the batch, of its largest part, and of all parts in flight."""
    rows, cut = planned.rows, planned.plan.cut
    if cut is None:
        return rows, rows, rows
    size = max(1, *[piece.num_tokens for piece in cut.slices])
    return rows, size, size * min(len(cut.slices), planned.plan.workers)


def _worth_measuring(need: Need, flight: int) -> bool:
    return need.steps < MEASURED or flight > need.largest
