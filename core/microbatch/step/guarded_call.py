"""The outermost layer of a watched step: parts no larger than their measured need allows.

Invariant: while nothing is known of a kind of batch, no part is larger than twice one whose peak was
measured, and none whose peak, in proportion to that, would pass the budget. Everything is measured from the
start of the step, so memory that is kept from one part to the next counts. Rejected: a line through the first
peaks (small parts live in memory that is held already and show nothing).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from microbatch.arrays.memory import result_bytes
from microbatch.binding.batch import Batch
from microbatch.binding.binder import PartBinder
from microbatch.cutting.cut import cut
from microbatch.cutting.slices import Cut
from microbatch.extend.abilities import PeakMark
from microbatch.gathering.gather import Outputs
from microbatch.gathering.run_parts import Call, Parts, run_parts
from microbatch.step.finer_parts import size_at_once
from microbatch.step.outcome import Outcome
from microbatch.step.recovery import Recovery
from microbatch.step.watched import Watched

SHARE_OF_PILOT = 16
"""The parts of a pilot double up to this part of its rows; half of the result would be copied twice."""
SHARE_OF_BATCH = 64
"""Where the first part is a small one, they double up to this part of all rows: few rows show little."""
FADING = 0.9
"""How far a larger step may lower the known peak per row, since memory that is held anyway hides part of it.

A smaller step lowers it not at all."""
HIDDEN = 0.7
"""A measured peak below this part of the expected one is taken to be hidden so, and is reported to nobody."""


class GuardedCall:
    """Stands around the other layers of one step."""

    __slots__ = (
        "_binder",
        "_bound",
        "_inner",
        "_largest",
        "_later",
        "_outcome",
        "_pilot",
        "_room",
        "_watched",
    )

    def __init__(self, inner: Recovery, watched: Watched, binder: PartBinder, outcome: Outcome) -> None:
        self._inner = inner.call
        self._room = inner.room
        self._watched = watched
        self._binder = binder
        self._outcome = outcome
        self._bound = watched.bound
        self._pilot = watched.pilot
        self._later: PeakMark | None = None
        """Taken after the first call, which also loads and starts what the function needs once."""
        self._largest = 0
        """Most rows of a part of the pilot that was measured."""
        outcome.guarded = True

    @property
    def first_part_alone(self) -> bool:
        """Whether the first part has to end before others may start."""
        return self._pilot

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int, nested: bool = True) -> Any:
        """The outputs, in as many parts as the memory asks for; `nested` as in `Recovery.call`."""
        if self._pilot:
            return self._run_pilot(self._binder.bind(args, kwargs), nested=nested)
        bound = self._bound
        if bound is None or rows <= bound:
            return self._inner(args, kwargs, rows, nested)
        return self._within(bound, args, kwargs, nested=nested)

    def finish(self, sizes: Sequence[int], workers: int) -> None:
        """Learn from a step of which parts of these `sizes` ran, `workers` at a time; note its peak."""
        self._outcome.calibration = self._watched.pilot
        if self._watched.mark is not None and sizes:
            self._outcome.peak = self._learn(self._watched.mark, sizes, workers)

    def _within(self, bound: int, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, nested: bool) -> Any:
        """The outputs for these arguments, in parts of at most `bound` rows."""
        batch = self._binder.bind(args, kwargs)
        size = size_at_once(batch.shape.num_tokens, bound)
        made = cut(batch.shape, splitter=self._binder.splitter, limit=size)
        whole = size <= bound or len(made.slices) < 2  # such as a long request, which is not cut
        return self._in_parts(
            batch, made, self._inner if whole else partial(self._bounded, bound), nested=nested
        )

    def _bounded(self, bound: int, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int) -> Any:
        """The outputs of one of many parts, cut again where it is still too large."""
        if rows <= bound:
            return self._inner(args, kwargs, rows)
        return self._within(bound, args, kwargs, nested=True)

    def _in_parts(self, batch: Batch, made: Cut, call: Call, *, nested: bool) -> Any:
        outputs = Outputs(
            layout=self._binder.layout,
            nested=nested,
            proven=self._binder.outputs,
            make_room=self._room.make,
        )
        return run_parts(Parts(batch, made, self._binder.device.backend, outputs), call)

    def _run_pilot(self, batch: Batch, *, nested: bool) -> Any:
        """The batch in parts that double from one row on, as far as their measured peaks allow."""
        rows = batch.shape.num_tokens
        most = max(rows // SHARE_OF_PILOT, min(rows // 2, self._watched.rows // SHARE_OF_BATCH), 1)
        made = _doubling(batch, self._binder.splitter, most)
        outputs = self._in_parts(batch, made, self._measured, nested=nested)
        self._pilot = False
        if self._largest:
            most = self._most(self._watched.side)
            self._bound = most if most < self._watched.size else None
        return outputs

    def _measured(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int) -> Any:
        """One part of the pilot, cut further where the bound so far asks for it; it sets the next bound."""
        before = len(self._outcome.ran)
        outputs = self._bounded(self._bound or rows, args, kwargs, rows)
        self._bound = self._bound_after(max(self._outcome.ran[before:]), rows, outputs)
        return outputs

    def _bound_after(self, size: int, rows: int, outputs: Any) -> int:
        """Take note of `rows` that ran, no more than `size` at a time; returns the most that may run next."""
        watched = self._watched
        if self._later is None:
            watched.need.result_per_row = 0.0 if watched.given_result else result_bytes(outputs) / rows
            self._later = watched.peaks.peak_mark() or watched.mark
            return 1
        self._largest = max(self._largest, size)
        used = self._later.peak() - self._later.in_use
        least = max(1, watched.planned.batch.bytes_per_unit)
        watched.need.per_row = max(watched.tried.per_row(used, self._largest), float(least))
        return self._most(1)

    def _most(self, side: int) -> int:
        """Rows that each of `side` parts may have.

        What the function holds for good and the result are taken off the budget; the rest is for rows in
        flight.
        """
        watched, later = self._watched, self._later
        assert watched.mark is not None and later is not None
        held = max(0, later.in_use - watched.mark.in_use) + watched.need.result_per_row * watched.rows
        return watched.most(watched.budget - held, side)

    def _learn(self, mark: PeakMark, sizes: Sequence[int], workers: int) -> int | None:
        """The peak of the step above its start, None where it was hidden.

        After a pilot only a larger need per row is believed, and only of what came after the first call: its
        few rows have shown what one part needs, and the step what all in flight do.
        """
        peak, need = mark.peak() - mark.in_use, self._watched.need
        need.steps += 1
        # the largest parts may have run at the same time, and the result grows with the batch, not with a
        # part
        flight = sum(sorted(sizes)[-max(1, workers) :])
        hidden = peak < HIDDEN * need.per_row * flight
        if self._watched.telling:
            later = self._later
            fading = FADING if later is None and flight > need.largest else 1.0
            measured = peak if later is None else later.peak() - later.in_use
            parts = measured - need.result_per_row * self._watched.rows
            need.per_row = max(parts / flight, fading * need.per_row, 1.0)
        need.largest = max(need.largest, flight)
        return peak if self._watched.telling and not hidden and peak > 0 else None


def _doubling(batch: Batch, splitter: str, most: int) -> Cut:
    """Parts of 1, 1, 2, 4 and so on rows, up to `most`; whole requests where it says so."""
    rows = batch.shape.num_tokens
    edges, size = [0, 1], 1
    while edges[-1] < rows:
        edges.append(min(rows, edges[-1] + size))
        size = min(most, size * 2)
    if splitter == "request-aligned":
        starts = batch.shape.starts
        edges = np.unique(starts[np.searchsorted(starts, edges)]).tolist()
    return cut(batch.shape, splitter="explicit", boundaries=edges)
