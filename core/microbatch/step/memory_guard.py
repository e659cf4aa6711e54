"""Keeps a step within its memory where taking too much is not an error but the end of the process.

Invariant: while nothing is known of a kind of batch, no part is larger than twice one whose peak was measured, and
none whose peak, in proportion to that, would pass the budget. Everything is measured from the start of the step, so
memory that is kept from one part to the next counts. Rejected: trusting a factor over the input's bytes (a search
among 20,000 points needs 640 times its input), and a line through the first peaks (small parts live in memory that
is held already and show nothing).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from microbatch.arrays.memory import result_bytes
from microbatch.extend.abilities import PeakMark, SupportsPeak
from microbatch.step.planned import Setting

__all__ = ["MemoryGuard", "Watch"]

SHARE = 0.9
"""Part of the memory that is planned with; the kernel counts in batches of pages."""
LIMITED = 4096
"""With a memory limit: bytes per byte of input in flight from which a first step is watched."""
UNLIMITED = 512
"""The same against the memory that is left, where no limit was set."""
MEASURED = 4
"""Steps of a kind that are measured; after that only larger ones are."""
KINDS = 256
"""Kinds of batches remembered."""
FADING = 0.9
"""Least part of an earlier peak per row that a larger step may replace it with; a smaller step never lowers it, since
memory that is held anyway hides its peak."""
HIDDEN = 0.7
"""Part of the expected peak below which a measured one is taken to be hidden so, and teaches nobody."""


@dataclass(slots=True)
class _Kind:
    """What is known of the batches of one signature."""

    per_row: float = 0.0
    """Peak bytes above the start for each row in flight."""
    result_per_row: float = 0.0
    """Bytes of result per row."""
    largest: int = 0
    """Most rows in flight that were measured."""
    steps: int = 0
    """Steps that were measured."""


class MemoryGuard:
    """One per wrapper. `limit` is the user's, in bytes above the start of the step; None for what the memory has."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._kinds: dict[str, _Kind] = {}
        self._quiet: object = None

    def watch(self, setting: Setting, *, given_result: bool) -> Watch | None:
        """What to watch in this step; None for nothing, which costs 0.1 us once a plan is settled.

        `given_result` says that the result goes to memory of the caller's, which does not count.
        """
        plan, backend = setting.plan, setting.backend
        if plan is self._quiet or plan.fixed or setting.schedule not in ("sequential", "parallel"):
            return None
        if not isinstance(backend, SupportsPeak):
            return None
        rows, size, flight = _sizes(setting)
        if rows < 2:
            return None
        budget = self.budget(setting)
        per_byte = UNLIMITED if self._limit is None else LIMITED
        kind = self._kinds.get(setting.batch.signature) if self._kinds else None
        if kind is None and flight * setting.batch.bytes_per_unit * per_byte <= budget:
            self._quiet = plan  # the same plan is of the same reading, so this holds as long as it is used
            return None
        mark = backend.peak_mark() if kind is None or _worth(kind, flight) else None
        if kind is None:
            return None if mark is None else self._new(setting, budget, mark, given_result)
        result = 0 if given_result else int(kind.result_per_row * rows)
        most = max(1, int((budget - result) / max(kind.per_row, 1.0)) // max(1, flight // size))
        bound = most if most < size else None
        if bound is None and mark is None:
            return None
        return Watch(kind, budget, mark, backend, flight=flight, size=size, total=rows, bound=bound)

    def budget(self, setting: Setting) -> int:
        """Bytes the step may use above its start."""
        usable = setting.memory.usable if setting.memory.capacity > 0 else 1 << 62
        return int(SHARE * (usable if self._limit is None else min(self._limit, usable)))

    def _new(self, setting: Setting, budget: int, mark: PeakMark, given_result: bool) -> Watch:
        while len(self._kinds) >= KINDS:
            del self._kinds[next(iter(self._kinds))]
        kind = self._kinds[setting.batch.signature] = _Kind()
        rows, size, flight = _sizes(setting)
        assert isinstance(setting.backend, SupportsPeak)
        return Watch(
            kind, budget, mark, setting.backend, flight=flight, size=size, total=rows, bound=1,
            pilot=True, given_result=given_result, least=setting.batch.bytes_per_unit,
        )  # fmt: skip


class Watch:
    """One watched step. While `pilot`, parts run one at a time and double; `bound` is the most rows of a part."""

    def __init__(
        self,
        kind: _Kind,
        budget: int,
        mark: PeakMark | None,
        backend: SupportsPeak,
        *,
        flight: int,
        size: int,
        total: int,
        bound: int | None,
        pilot: bool = False,
        given_result: bool = False,
        least: int = 1,
    ) -> None:
        self.bound = bound
        self.pilot = pilot
        self.piloted = pilot
        self._kind = kind
        self._budget = budget
        self._mark = mark
        self._later: PeakMark | None = None
        self._backend = backend
        self._flight, self._size, self._total = flight, size, total
        self._given_result = given_result
        self._least = max(1, least)
        self._largest = 0

    def ran(self, size: int, rows: int, output: Any) -> int:
        """Take note of `rows` that ran, no more than `size` at a time; returns the most that may run next.

        The first call of a function also loads and starts what it needs, once; memory held after it is not a row's.
        """
        assert self._mark is not None
        if self._later is None:
            self._kind.result_per_row = 0.0 if self._given_result else result_bytes(output) / rows
            self._later = self._backend.peak_mark() or self._mark
            return 1
        self._largest = max(self._largest, size)
        self._kind.per_row = max(self._used() / self._largest, float(self._least))
        return self._most(1)

    def settle(self) -> int | None:
        """End the pilot: the bound for parts that run side by side, None where the plan needs none."""
        self.pilot = False
        if not self._largest:
            return self.bound
        most = self._most(max(1, self._flight // self._size))
        self.bound = most if most < self._size else None
        return self.bound

    def finish(self, sizes: tuple[int, ...], workers: int) -> int | None:
        """The peak of the step above its start, None where it was not measured; learns from it.

        `sizes` are the parts that ran, `workers` how many of them at a time.
        """
        if self._mark is None or not sizes:
            return None
        peak = self._mark.peak() - self._mark.in_use
        kind = self._kind
        kind.steps += 1
        flight = sum(sorted(sizes)[-max(1, workers) :])
        hidden = peak < HIDDEN * kind.per_row * flight
        if not self._largest:
            fading = FADING if flight > kind.largest else 1.0
            rows = (
                peak - kind.result_per_row * self._total
            )  # the result grows with the batch, not with a part
            kind.per_row = max(rows / flight, fading * kind.per_row, 1.0)
        kind.largest = max(kind.largest, flight)
        return None if hidden or peak <= 0 else peak

    def _used(self) -> int:
        assert self._later is not None
        return self._later.peak() - self._later.in_use

    def _most(self, side: int) -> int:
        assert self._mark is not None and self._later is not None
        held = max(0, self._later.in_use - self._mark.in_use) + self._kind.result_per_row * self._total
        return max(1, math.floor((self._budget - held) / (self._kind.per_row * side)))


def _sizes(setting: Setting) -> tuple[int, int, int]:
    """Rows of the batch, of its largest part, and of all parts in flight."""
    rows, cut = setting.batch.shape.num_tokens, setting.plan.cut
    if cut is None:
        return rows, rows, rows
    size = max((piece.num_tokens for piece in cut.slices), default=0)
    side = min(len(cut.slices), setting.plan.workers)
    return rows, max(1, size), max(1, size) * side


def _worth(kind: _Kind, flight: int) -> bool:
    return kind.steps < MEASURED or flight > kind.largest
