"""The parts of a call that `tune` measures, and their memory.

Invariant: a part is cut as a step would cut it, and a call of it is over when the device is done.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from microbatch.binding.call import Call
from microbatch.cutting.cut import cut
from microbatch.cutting.slices import UBatchSlice
from microbatch.extend.abilities import PeakMark, SupportsAwaiting, SupportsPeak
from microbatch.extend.device import meaning_of
from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind, MemoryReading
from microbatch.tuning.measure import Part

STALE = 0.011
"""Seconds after which a backend reads its memory anew."""


class ReadingMark:
    """A mark for backends whose peak only ever rises; a part that does not raise it cannot be told."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        before = _fresh(backend)
        self.in_use = before.in_use
        self._peak = before.peak

    def peak(self) -> int:
        """The new peak, or what was in use at the start where it did not rise."""
        now = _fresh(self._backend)
        return now.peak if now.peak > self._peak else self.in_use


class CallBench:
    """Parts of the batch of one call, as the splitter would make them."""

    def __init__(self, call: Call, backend: Backend) -> None:
        """Raises LayoutError for arguments that cannot be cut."""
        self._function = call.function
        if isinstance(backend, SupportsAwaiting):
            self._function = backend.awaiting(call.function)
        self._batch = call.batch(backend)
        self._backend = backend
        shape = self._batch.shape
        apart = shape.query_start_loc is not None or shape.num_tokens != shape.num_requests
        self.unit = "cost" if shape.lengths is not None else "tokens" if apart else "rows"
        """What sizes are counted in; cost is the longest row of a part times its rows."""

    @property
    def units(self) -> int:
        """Units of the whole batch."""
        shape = self._batch.shape
        return shape.num_tokens if shape.lengths is None else int(shape.lengths.sum())

    @property
    def least(self) -> int:
        """Units of the smallest part that can be made."""
        lengths = self._batch.shape.lengths
        return 1 if lengths is None or not len(lengths) else int(lengths.max())

    def part(self, size: int) -> Part:
        """The first rows or tokens; of packed parts the one with rows of middling length."""
        shape = self._batch.shape
        if self.unit != "cost":
            first = UBatchSlice.from_range(0, shape.num_tokens, 0, shape.num_requests)
            if size < shape.num_tokens:
                first = cut(shape, splitter="explicit", boundaries=[size]).slices[0]
            args, kwargs = self._batch.part(first)
            return self._part(args, kwargs, first.num_tokens, first.num_tokens * self._batch.bytes_per_unit)
        made = cut(shape, splitter="packed", limit=size)
        batch = self._batch
        if made.permutation is not None:
            batch = batch.permuted(made.permutation, self._backend)
        middle = len(made.slices) // 2
        piece, trim = made.slices[middle], None if made.trims is None else made.trims[middle]
        args, kwargs = batch.part(piece, trim, middle)
        return self._part(args, kwargs, piece.num_reqs, 0)

    def mark(self) -> PeakMark | None:
        """Start measuring memory."""
        if isinstance(self._backend, SupportsPeak):
            return self._backend.peak_mark()
        return ReadingMark(self._backend)

    def out_of_memory(self, error: Exception) -> bool:
        """Whether the backend says that the part was too large."""
        return meaning_of(self._backend, error) in (FailureKind.OOM, FailureKind.SIZE)

    def _part(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int, input_bytes: int) -> Part:
        def call() -> object:
            result = self._function(*args, **kwargs)
            self._backend.current_stream().synchronize()
            return result

        return Part(call=call, rows=rows, input_bytes=input_bytes)


def _fresh(backend: Backend) -> MemoryReading:
    time.sleep(STALE)
    return backend.memory()
