"""The parts of a file that `microbatch tune` measures, and their memory.

Invariant: a part is cut as a step would cut it, and a call of it is over when the device is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from microbatch.binding.batch import Batch
from microbatch.cutting.cut import UBatchSlice, cut
from microbatch.extend.abilities import PeakMark, SupportsPeak
from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind, MemoryReading
from microbatch.tuning.measure import Part

__all__ = ["FileBench"]

STALE = 0.011
"""Seconds after which a backend reads its memory anew."""


class ReadingMark:
    """A mark for backends that only ever raise their peak; a part that does not raise it cannot be told."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        before = _fresh(backend)
        self.in_use = before.in_use
        self._peak = before.peak

    def peak(self) -> int:
        """The new peak, or what was in use at the start where it did not rise."""
        now = _fresh(self._backend)
        return now.peak if now.peak > self._peak else self.in_use


class FileBench:
    """Parts of one batch. With row lengths, sizes are cost: longest row times rows, as the splitter packs them."""

    def __init__(self, function: Callable[..., Any], batch: Batch, backend: Backend) -> None:
        self._function = function
        self._batch = batch
        self._backend = backend
        self.packed = batch.shape.lengths is not None

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
        """The first rows; of packed ones those in the middle of the lengths."""
        if not self.packed:
            rows = min(size, self._batch.shape.num_tokens)
            args, kwargs = self._batch.part(UBatchSlice.from_range(0, rows, 0, rows))
            return self._part(args, kwargs, rows, rows * self._batch.bytes_per_unit)
        made = cut(self._batch.shape, splitter="packed", limit=size)
        batch = (
            self._batch if made.permutation is None else self._batch.permuted(made.permutation, self._backend)
        )
        middle = len(made.slices) // 2
        piece, trim = made.slices[middle], None if made.trims is None else made.trims[middle]
        args, kwargs = batch.part(piece, trim, middle)
        return self._part(args, kwargs, piece.num_reqs, 0)

    @contextmanager
    def as_one_of(self, workers: int) -> Iterator[None]:
        """Leave the calling thread what one of so many workers has: its share of the framework's threads.

        With all of them a part measures faster or, on a busy machine, a hundred times slower than it will run.
        """
        with self._backend.parallel_limits(workers), self._backend.worker_limits(workers):
            yield

    def mark(self) -> PeakMark | None:
        """Start measuring memory."""
        if isinstance(self._backend, SupportsPeak):
            return self._backend.peak_mark()
        return ReadingMark(self._backend)

    def out_of_memory(self, error: Exception) -> bool:
        """Whether the backend says that the part was too large."""
        return self._backend.classify(error) in (FailureKind.OOM, FailureKind.SIZE)

    def _part(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int, size: int) -> Part:
        def call() -> object:
            result = self._function(*args, **kwargs)
            self._backend.current_stream().synchronize()
            return result

        return Part(call=call, rows=rows, input_bytes=size)


def _fresh(backend: Backend) -> MemoryReading:
    time.sleep(STALE)
    return backend.memory()
