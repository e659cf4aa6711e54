"""The guard: no part is run that its predecessors do not show to fit, and every row is run once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.binding.rules import Layout, collect, tokens
from microbatch.extend.records import MemoryReading, StepReport
from microbatch.testing.given_plugins import GivenBackends
from microbatch_backends.host.backend import CpuBackend
from tests.support.ranks import SameElsewhere

pytestmark = pytest.mark.counted

CAPACITY = 1 << 40


class Mark:
    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.in_use = 0
        self.highest = 0
        memory.marks.append(self)

    def peak(self) -> int:
        return self.highest


class Memory(CpuBackend):
    """A host whose memory is what a function says it needs, one part at a time."""

    name = "memory"
    parallel = False

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Mark] = []
        self.highest = 0

    def memory(self) -> MemoryReading:
        return MemoryReading(capacity=CAPACITY, in_use=0, usable=CAPACITY, peak=0, pressure=0.0)

    def peak_mark(self) -> Mark | None:
        return Mark(self)

    def use(self, size: int) -> None:
        self.highest = max(self.highest, size)
        for mark in self.marks:
            mark.highest = max(mark.highest, size)


class Function:
    """Needs `fixed` bytes and `slope` bytes a row while it runs."""

    def __init__(self, memory: Memory, fixed: int, slope: int) -> None:
        self.memory, self.fixed, self.slope = memory, fixed, slope
        self.rows: list[int] = []
        self.sizes: list[int] = []

    def __call__(self, x: Any) -> Any:
        self.sizes.append(len(x))
        self.rows += x[:, 0].tolist()
        self.memory.use(self.fixed + self.slope * len(x))
        return x[:, 0] + 1


def wrapped(function: Any, memory: Memory, limit: int, **options: Any) -> microbatch.UBatchWrapper:
    plugins = GivenBackends(memory)
    return microbatch.wrap(
        function, backend=memory.name, plugins=plugins, memory_limit=limit, schedule="sequential", **options
    )


@given(
    rows=st.integers(2, 500), fixed=st.integers(0, 1 << 16), slope=st.integers(1 << 12, 1 << 20),
    fits=st.integers(2, 40), policy=st.sampled_from(["auto", "fixed", "tokens", "throughput"]),
    calls=st.integers(1, 3),
)  # fmt: skip
def test_a_limit_that_a_row_fits_is_kept_and_each_row_runs_once(
    rows: int, fixed: int, slope: int, fits: int, policy: str, calls: int
) -> None:
    memory, limit = Memory(), fixed + slope * fits
    function = Function(memory, fixed, slope)
    x = np.arange(rows)[:, None].repeat(64, 1)
    with wrapped(function, memory, limit, policy=policy) as step:
        for _ in range(calls):
            function.rows.clear()
            np.testing.assert_array_equal(step(x), x[:, 0] + 1)
            assert sorted(function.rows) == list(range(rows))
    if rows * x.itemsize * 64 * 4096 > limit * 0.9:  # watched from the first step on
        assert memory.highest <= max(limit, fixed + slope)


def test_the_first_step_is_a_calibration_and_says_so() -> None:
    memory = Memory()
    function = Function(memory, 0, 1 << 16)
    x = np.arange(1000)[:, None].repeat(64, 1)
    with wrapped(function, memory, 4 << 20) as step:
        step(x)
        first = step.last_report
        step(x)
        second = step.last_report
    assert isinstance(first, StepReport) and isinstance(second, StepReport)
    assert first.calibration and not second.calibration
    assert "first parts small" in first.reason
    assert sum(first.sizes) == 1000 and first.sizes[:3] == (1, 1, 2)
    assert first.peak_bytes == max(first.sizes) << 16
    assert len(second.sizes) < len(first.sizes)


class Small(Memory):
    """The same with little memory, and no limit of the user's."""

    usable = 100 << 20

    def memory(self) -> MemoryReading:
        return MemoryReading(
            capacity=self.usable, in_use=0, usable=self.usable, peak=self.highest, pressure=0.0
        )


@pytest.mark.parametrize("schedule", ["sequential", "streamed"])
def test_rows_of_a_few_bytes_may_need_thousands_of_times_as_much(schedule: str) -> None:
    """Two numbers that are compared with 16,000 points: 8,000 times the input, and no time to learn that."""
    memory, need = Small(), 1 << 17
    function = Function(memory, 0, need)
    x = np.arange(2000, dtype=np.float64)[:, None].repeat(2, 1)
    with microbatch.wrap(
        function, backend=memory.name, plugins=GivenBackends(memory), schedule=schedule
    ) as step:
        for _ in range(3):
            function.rows.clear()
            function.sizes.clear()
            np.testing.assert_array_equal(step(x), x[:, 0] + 1)
            assert sorted(function.rows) == list(range(2000))
            assert max(function.sizes) * need <= memory.usable
    memory.close()


def test_a_pipeline_measures_its_first_parts_only() -> None:
    """Later its threads read and write files meanwhile, whose pages would count as needed by the parts."""
    memory = Small()
    function = Function(memory, 0, 1 << 17)
    x = np.arange(2000, dtype=np.float64)[:, None].repeat(2, 1)
    with microbatch.wrap(
        function, backend=memory.name, plugins=GivenBackends(memory), schedule="streamed"
    ) as step:
        step(x)
        first, marks = step.last_report, len(memory.marks)
        memory.use(1 << 40)
        step(x)
        second = step.last_report
    assert first is not None and first.calibration and first.peak_bytes is None
    assert second is not None and second.peak_bytes is None
    assert len(memory.marks) == marks
    memory.close()


class Ranks(Small):
    """Other processes run the same step."""

    same = SameElsewhere()

    def ranks(self, group: object | None) -> Any:
        return self.same


@pytest.mark.parametrize("kind", [Small, Ranks])
def test_ubatches_that_take_turns_and_were_never_tried_run_as_planned(kind: type[Small]) -> None:
    """Each may wait for its siblings, in this process or in others: none of them runs before the others."""
    memory, alive = kind(), list[int]()
    begun = [0]

    def function(x: Any) -> Any:
        begun[0] += 1
        dbo.dbo_yield()
        alive.append(begun[0])
        return x[:, 0] + 1

    x = np.arange(2000, dtype=np.float64)[:, None].repeat(2, 1)
    options: dict[str, Any] = {"schedule": "pingpong", "num_ubatches": 2}
    with microbatch.wrap(function, backend=memory.name, plugins=GivenBackends(memory), **options) as step:
        np.testing.assert_array_equal(step(x), x[:, 0] + 1)
    assert alive == [2, 2]
    memory.close()


def test_a_cut_that_the_caller_gave_is_kept() -> None:
    memory = Memory()
    function = Function(memory, 0, 1 << 20)
    x = np.arange(64)[:, None].repeat(64, 1)
    with wrapped(function, memory, 1 << 20) as step:
        halves = step.compute_slices(64, 64)
        step(x, ubatch_slices=halves)
    assert function.sizes == [32, 32]


def test_what_is_collected_is_a_value_per_part_that_ran() -> None:
    memory = Memory()
    function = Function(memory, 0, 1 << 16)

    def f(x: Any) -> dict[str, Any]:
        return {"rows": function(x), "sizes": len(x)}

    x = np.arange(500)[:, None].repeat(64, 1)
    layout = Layout(inputs={"0": tokens()}, outputs={"rows": tokens(), "sizes": collect()})
    with wrapped(f, memory, 2 << 20, layout=layout, policy="fixed", num_ubatches=3) as step:
        result = step(x)
        assert result["sizes"] == function.sizes
        np.testing.assert_array_equal(result["rows"], x[:, 0] + 1)


@pytest.mark.parametrize("missing", ["mark", "ability"])
def test_where_memory_cannot_be_measured_steps_run_as_planned(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory()
    if missing == "mark":
        monkeypatch.setattr(memory, "peak_mark", lambda: None)
    else:
        monkeypatch.setattr("microbatch.extend.device.SupportsPeak", type("Nobody", (), {}))
    function = Function(memory, 0, 1)
    x = np.arange(64)[:, None].repeat(64, 1)
    with wrapped(function, memory, 1 << 20, policy="fixed", num_ubatches=2) as step:
        np.testing.assert_array_equal(step(x), x[:, 0] + 1)
    assert function.sizes == [32, 32]


@pytest.mark.parametrize("schedule", ["sequential", "streamed"])
def test_a_batch_of_very_many_rows_is_cut_level_by_level(schedule: str) -> None:
    """70,000 rows of which one fits at a time: more parts than a step may have, so parts of parts."""
    memory, need, rows = Small(), 60 << 20, 70_000
    function = Function(memory, 0, need)
    x = np.arange(rows, dtype=np.float64)[:, None]
    with microbatch.wrap(
        function, backend=memory.name, plugins=GivenBackends(memory), schedule=schedule, policy="fixed"
    ) as step:
        for _ in range(2):
            function.rows.clear()
            np.testing.assert_array_equal(step(x), x[:, 0] + 1)
            assert sorted(function.rows) == list(range(rows))
    assert max(function.sizes) == 1
    memory.close()
