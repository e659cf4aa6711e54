"""The programs of the GPU table at toy size on the CPU: that they run and give the plain result, not their
speed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from benchmarks import gpu, gpu_work


@pytest.mark.parametrize("measure", [gpu.transfers, gpu.graphs, gpu.overlap, gpu.small_memory, gpu.pipeline])
def test_each_measurement_runs_and_gives_rows(measure: Any) -> None:
    rows = measure(gpu_work.DRY)
    assert rows and all(row.measured and row.aim for row in rows)


def test_double_buffering_gives_the_plain_result() -> None:
    batch, out = gpu_work.host_batch(gpu_work.DRY)
    function = gpu_work.chain(gpu_work.DRY)
    gpu_work.double_buffering(gpu_work.DRY, function, batch, out, 4)
    torch.testing.assert_close(out, function(batch))


def test_the_ring_of_events_gives_the_serial_result() -> None:
    model = gpu_work.Overlapping(gpu_work.DRY)
    x = torch.randn(16, gpu_work.DRY.width)
    torch.testing.assert_close(model.event_ring(x), model.serial(x))


def test_a_row_that_fails_is_told_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(scale: Any) -> Any:
        """Broken work."""
        raise RuntimeError("no such thing")

    for name in ("graphs", "overlap", "small_memory", "texts"):
        monkeypatch.setattr(gpu, name, broken)
    rows = gpu.table(replace(gpu_work.DRY))
    assert [row.measured for row in rows].count("RuntimeError: no such thing") == 4
    assert len(rows) > 4 and not any(row.reached for row in rows if "no such thing" in row.measured)
