"""Whether a step must be watched, where taking too much memory is not an error but the end of the process.

Invariant: while nothing is known of a kind of batch, its first parts are small and measured
(`guarded_call.py`); what they needed bounds every later part of that kind. Ubatches that take turns are
watched too, but not where other ranks do the same, nor where the function was never called outside of a step:
it may wait for its siblings. Rejected: trusting a factor over the input's bytes (a search among 20,000 points
needs 640 times its input).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microbatch.extend.abilities import PeakMark
from microbatch.options.byte_sizes import bytes_of
from microbatch.proof.verdict import TRUSTED
from microbatch.sizing.plan import Plan
from microbatch.step.finer_parts import in_finer_parts, largest_part, side_by_side, with_pilot
from microbatch.step.planned import Planned
from microbatch.step.watched import NOTHING_TRIED, Need, Tried, Watched, planned_bound

SHARE = 0.9
"""Part of the memory that is planned with; the kernel counts in batches of pages."""
LIMITED = 4096
"""With a memory limit: a first step is watched if it would pass it with this many bytes per byte of input."""
UNLIMITED = 512
"""The same without a limit, against the memory that is left; few steps need 512 times their input."""
LEAST_ROW = 4096
"""Bytes that a row of an unknown kind counts for at least. One of two numbers that is compared with 30,000
points needs 30,000 times its input, so that with a limit of 100 MB a few hundred of them are too many."""
MEASURED = 4
"""Steps of a kind that are measured; after that only larger ones are."""
KINDS = 256
"""Kinds of batches remembered."""


class MemoryGuard:
    """One per wrapper; `limit` is the user's, bytes above a step's start, or a share of all there is."""

    def __init__(self, limit: int | str | None, function: Callable[..., Any] | None = None) -> None:
        """`function` is asked of a compiler, if there is one."""
        self._limit = limit
        self._function = function
        self._fitting: set[tuple[str, int, int]] = set()
        """Signature, rows and parts at a time of what the compiler said to fit."""
        self._needs: dict[str, Need] = {}
        self._tried: dict[str, Tried] = {}
        self.quiet: Plan | None = None
        """The last plan that is known to need no watching: the same plan is of the same memory reading."""

    def watch(self, planned: Planned, *, given_result: bool) -> Watched | None:
        """What to watch in this step; None for nothing.

        `given_result` says that the result goes to memory of the caller's, which does not count.
        """
        plan, peaks = planned.plan, planned.device.peak
        if peaks is None or not self._applies(planned):
            return None
        known, budget = self._known(plan.signature), self.budget(planned)
        if known is None and self._fits(planned, budget):
            self.quiet = plan
            return None
        telling = planned.schedule != "streamed"
        mark = peaks.peak_mark() if _worth_measuring(known, planned, telling=telling) else None
        bound = 1 if known is None else planned_bound(known, planned, budget, given_result=given_result)
        if mark is None and (known is None or bound is None):
            if known is not None and not given_result:
                self.quiet = plan
            return None
        finer = planned if bound is None else in_finer_parts(planned, bound)
        return Watched(
            planned=with_pilot(finer) if known is None else finer,
            need=known or self._new(plan.signature),
            peaks=peaks,
            mark=mark,
            budget=budget,
            bound=bound,
            pilot=known is None,
            given_result=given_result,
            telling=telling,
            tried=self._tried.get(plan.signature, NOTHING_TRIED),
        )

    def may_cut(self, planned: Planned) -> bool:
        """Whether a step that is planned whole may still be cut for its memory."""
        if planned.plan is self.quiet or planned.device.peak is None or not self._applies(planned):
            return False
        if self._known(planned.plan.signature) is not None:
            return True
        return not self._fits(planned, self.budget(planned))

    def mark(self, planned: Planned) -> PeakMark | None:
        """Start measuring the calls that show whether the batch may be cut, where its memory matters.

        What they allocate is kept by the process and would hide what the first parts need.
        """
        peaks = planned.device.peak
        if peaks is None or not self.may_cut(planned):
            return None
        # imported by the first of them: 0.7 MB that no row needs, told as 58 KB for each of 12
        import microbatch.proof.experiment  # noqa: F401

        return peaks.peak_mark()

    def shown(self, planned: Planned, mark: PeakMark, rows: int) -> None:
        """Take note that such calls of up to `rows` rows ended just now."""
        if len(self._tried) >= KINDS:
            self._tried.clear()
        peak = mark.peak() - mark.in_use
        self._tried[planned.plan.signature] = Tried(rows=max(1, rows), peak=peak)

    def fits_whole(self, planned: Planned) -> bool:
        """Whether the whole batch may be run without risk: it needs little, or running out only raises."""
        return planned.device.peak is None or self._surely_fits(planned, planned.rows, self.budget(planned))

    def _applies(self, planned: Planned) -> bool:
        """Whether steps of this kind are watched at all."""
        if planned.plan.fixed or planned.rows < 2:
            return False
        if planned.schedule != "pingpong":
            return True
        return planned.cuttable.verdict is not TRUSTED and planned.ranks is None

    def budget(self, planned: Planned) -> int:
        """Bytes the step may use above its start."""
        usable = planned.memory.usable if planned.memory.capacity > 0 else 1 << 62
        limit = bytes_of(self._limit, planned.memory.capacity)
        return int(SHARE * (usable if limit is None else min(limit, usable)))

    def _fits(self, planned: Planned, budget: int) -> bool:
        """Whether a step of an unknown kind fits: by its bytes, or by what its compiler says."""
        return self._surely_fits(planned, _flight(planned), budget) or self._compiled_to_fit(planned, budget)

    def _compiled_to_fit(self, planned: Planned, budget: int) -> bool:
        """Whether the largest part is compiled to need so little that all in flight fit beside the result."""
        needs, rows, side = planned.device.needs, largest_part(planned), side_by_side(planned)
        if needs is None or self._function is None:
            return False
        key = planned.plan.signature, rows, side
        if key in self._fitting:
            return True
        args, kwargs = _largest_arguments(planned)
        told = needs.needs(self._function, args, kwargs)
        if told is None or side * told[0] + 2 * told[1] * planned.rows / max(1, rows) > budget:
            return False
        if len(self._fitting) >= KINDS:
            self._fitting.clear()
        self._fitting.add(key)
        return True

    def _surely_fits(self, planned: Planned, flight: int, budget: int) -> bool:
        """Whether a step of an unknown kind fits even if it needs very many times its input."""
        per_byte = UNLIMITED if self._limit is None else LIMITED
        return flight * max(planned.batch.bytes_per_unit, LEAST_ROW) * per_byte <= budget

    def _known(self, signature: str) -> Need | None:
        """What was measured to its end; a first step that failed or was interrupted leaves nothing known."""
        need = self._needs.get(signature)
        return need if need is not None and need.steps else None

    def _new(self, signature: str) -> Need:
        while len(self._needs) >= KINDS:
            del self._needs[next(iter(self._needs))]
        need = self._needs[signature] = Need()
        return need


def _largest_arguments(planned: Planned) -> tuple[tuple[Any, ...], dict[str, Any]]:
    cut = planned.plan.cut
    if cut is None:
        return planned.batch.arguments()
    index = max(range(len(cut.slices)), key=lambda each: cut.slices[each].num_tokens)
    return planned.batch.part(cut.slices[index], None if cut.trims is None else cut.trims[index], index)


def _flight(planned: Planned) -> int:
    """Rows of all parts that are planned to be alive at the same time."""
    return largest_part(planned) * side_by_side(planned)


def _worth_measuring(known: Need | None, planned: Planned, *, telling: bool) -> bool:
    """Whether this step shows more than is known."""
    if known is None:
        return True
    return telling and (known.steps < MEASURED or _flight(planned) > known.largest)
