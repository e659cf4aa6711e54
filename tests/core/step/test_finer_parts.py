"""No more memory is taken than there is, whatever is held: counted allocation by allocation."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.extend.records import MemoryReading
from microbatch.step.finer_parts import PARTS
from microbatch.testing.given_plugins import GivenBackends
from microbatch_backends.host.backend import CpuBackend

MIB = 1 << 20
PYTHON = MIB
"""Bytes that Python takes for itself in a step."""


class Mark:
    """What is allocated from here on."""

    def __init__(self, memory: Traced) -> None:
        self._memory = memory
        self.in_use = self.highest = tracemalloc.get_traced_memory()[0]

    def peak(self) -> int:
        self._memory.tell()
        return self.highest


class Traced(CpuBackend):
    """A host on which `limit` bytes more than now may be allocated; every allocation of NumPy is counted."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self._marks: list[Mark] = []

    def memory(self) -> MemoryReading:
        return MemoryReading(capacity=1 << 40, in_use=0, usable=int(self.limit / 0.9), peak=0, pressure=0.0)

    def peak_mark(self) -> Mark | None:
        self.tell()
        tracemalloc.reset_peak()
        self._marks.append(Mark(self))
        return self._marks[-1]

    def tell(self) -> None:
        """Tell all marks the highest so far."""
        highest = tracemalloc.get_traced_memory()[1]
        for mark in self._marks:
            mark.highest = max(mark.highest, highest)


@contextmanager
def tracing() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def needed(step: Any, x: Any) -> int:
    """The most that is allocated above the start while `step(x)` runs."""
    before, backend = tracemalloc.get_traced_memory()[0], step._engine.backend()
    mark = backend.peak_mark()
    np.testing.assert_array_equal(step(x)[:, 0], x[:, 0] * x[:, 0])
    return int(mark.peak()) - before


@pytest.mark.parametrize("schedule", ["sequential", "parallel", "streamed", "pingpong"])
@settings(max_examples=12)
@given(
    rows=st.integers(6000, 20_000), columns=st.integers(2, 4), times=st.integers(16, 64),
    hidden=st.integers(1, 4), parts=st.integers(2, 5), spare=st.floats(0.2, 1.0),
)  # fmt: skip
def test_no_step_takes_more_than_there_is(
    schedule: str, rows: int, columns: int, times: int, hidden: int, parts: int, spare: float
) -> None:
    """A result of up to 64 times the input, made from wider things, and no room for a second one.

    It has more than a MiB: a step with less is not watched, and may take a MiB more than there is.
    """

    def function(x: Any) -> Any:
        wide = np.repeat(x, times, axis=1)
        squares = wide * wide
        held = [squares + each for each in range(hidden)]
        dbo.dbo_yield()
        return held[0]

    x = np.arange(rows * columns, dtype=np.float64).reshape(rows, columns)
    result = x.nbytes * times
    backend = Traced(int(result * (1 + spare)) + 2 * MIB)
    options: dict[str, Any] = {"policy": "fixed", "num_ubatches": parts, "schedule": schedule}
    with (
        microbatch.wrap(function, backend="cpu", plugins=GivenBackends(backend), **options) as step,
        tracing(),
    ):
        step(x[:2])  # imports, and what is made once
        for _ in range(3):
            assert needed(step, x) <= backend.limit + PYTHON
    backend.close()


@pytest.mark.parametrize("schedule", ["sequential", "pingpong"])
def test_parts_are_as_planned_where_they_fit(schedule: str) -> None:
    """However small they were before that was known."""
    backend = Traced(1 << 30)
    options: dict[str, Any] = {"policy": "fixed", "num_ubatches": 2, "memory_limit": 512 * MIB}
    x = np.arange(PARTS * 400 * 40.0).reshape(PARTS * 400, 40)
    with (
        microbatch.wrap(
            lambda x: x * x, backend="cpu", plugins=GivenBackends(backend), schedule=schedule, **options
        ) as step,
        tracing(),
    ):
        step(x[:2])  # imports, and what is made once
        step(x)
        first = step.last_report
        step(x)
        second = step.last_report
    assert first is not None and second is not None
    assert first.calibration and max(first.sizes) <= 400
    assert second.sizes == (PARTS * 200, PARTS * 200)
    backend.close()
