"""The model of many machines, and a small run of what measures its costs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from benchmarks.scale import table
from benchmarks.scale_costs import Size, features, shape_of
from benchmarks.scale_model import Costs, Machines, blocks_of, local_seconds, predicted

COSTS = Costs(row=1e-6, part=1e-5, block=0.01, file=0.02, task=1e-3, start=0.5)
seconds = st.floats(1e-9, 1e-2)
drawn_costs = st.builds(
    Costs, row=seconds, part=seconds, block=seconds, file=seconds, task=seconds, start=seconds
)


@given(costs=drawn_costs, rows=st.integers(1, 10**6), processes=st.integers(1, 50))
def test_more_machines_never_take_longer_and_never_less_than_their_rows(
    costs: Costs, rows: int, processes: int
) -> None:
    shape = shape_of(10**7, rows)
    few, many = (predicted(shape, costs, Machines(count=count, processes=processes)) for count in (1, 100))
    assert many.seconds <= few.seconds
    assert many.seconds >= 10**7 * costs.row / (100 * processes)
    assert 0 <= many.journal <= 1


@pytest.mark.parametrize(
    ("costs", "machines", "rows", "limit"),
    [
        (COSTS, Machines(operations=1e9), 1_000, "scheduling"),
        (COSTS, Machines(operations=10), 1_000, "names of files"),
        (COSTS, Machines(bytes_per_second=1e6), 10**6, "bytes of files"),
        (replace(COSTS, row=1.0), Machines(), 10**4, "computing"),
    ],
)
def test_the_limit_is_what_takes_longest(costs: Costs, machines: Machines, rows: int, limit: str) -> None:
    assert predicted(shape_of(10**9, rows), costs, machines).limit == limit


def test_one_process_takes_the_sum_of_its_files() -> None:
    one = local_seconds(shape_of(10_000, 1_000), COSTS, 1)
    assert one == pytest.approx(10 * (0.02 + 0.01 * blocks_of(shape_of(1_000, 1_000), COSTS) + 1e-5 + 1e-3))
    assert local_seconds(shape_of(10_000, 1_000), COSTS, 2) == pytest.approx(one / 2)


@pytest.mark.parametrize("rows", [1, 31, 1_000, 20_000])
def test_blocks_are_as_many_as_a_run_makes(tmp_path: Path, rows: int) -> None:
    calls: list[int] = []

    def counting(x: Any) -> Any:
        calls.append(len(x))
        return features(x)

    np.save(tmp_path / "x.npy", np.ones((rows, 64), np.float32))
    options: dict[str, Any] = {"policy": "fixed", "num_ubatches": 1, "verify": "never"}
    microbatch.run_file(counting, tmp_path / "x.npy", tmp_path / "y.npy", resume=True, **options)
    assert sum(calls) == rows
    assert len(calls) == blocks_of(shape_of(rows, rows), COSTS)


def test_the_table_is_made_of_real_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, whose times say nothing."""
    monkeypatch.setattr("benchmarks.scale.dask_task_seconds", lambda: 0.0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    rows = table(Size(small=200, large=4_000, files=2, rows=1_000, rounds=1))
    assert "OMP_NUM_THREADS" not in os.environ
    assert [row.work.split(",")[0] for row in rows].count("10^9 rows") == 10
    (assumed,) = [row for row in rows if row.work.startswith("assumed")]
    assert assumed.details["count"] == 100 and 5 <= assumed.details["operations_per_file"] <= 30
    checks = [row for row in rows if row.against.startswith("predicted")]
    assert len(checks) == 2 and all("%" in row.measured for row in checks)
