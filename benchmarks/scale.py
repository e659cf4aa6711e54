"""`python -m benchmarks scale`: what 10^9 rows on 100 machines would cost, and where the limit is.

Costs are measured on this machine, by real runs of `microbatch.run_file(..., resume=True)` in one process and
in two at the same time (`scale_costs.py`); `scale_model.py` says what follows for more. First the model has
to predict larger runs on this machine, then the cluster is a figure of it. What is assumed is printed too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.scale_costs import (
    PART,
    Size,
    dask_task_seconds,
    measured,
    operations_per_file,
    pool,
    shape_of,
)
from benchmarks.scale_model import Costs, Machines, local_seconds, predicted
from benchmarks.table import Row

CLOSE = 0.35
"""Share by which a prediction may be wrong: two virtual cores that others use differ so much between runs."""
MODEL_ROW = 0.01
"""Seconds of a row of a model, for the second half of the table; assumed. MiniLM took 30 ms a text here."""


def table(size: Size | None = None) -> list[Row]:
    """Costs, the check against this machine, what is assumed, and the cluster."""
    size = size or Size()
    costs: dict[int, Costs] = {}
    checks = []
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for count in (1, 2):
            with pool(count) as runs:
                costs[count], seconds = measured(runs, place, size)
                checks.append(check(count, seconds, costs[count], size))
        machines = Machines(operations_per_file=operations_per_file(place, size))
    return [
        *(cost_row(count, found) for count, found in costs.items()),
        *checks,
        *cluster(costs[2], machines),
    ]


def check(processes: int, found: float, costs: Costs, size: Size) -> Row:
    """A larger run on this machine, against what the model says of it."""
    shape = shape_of(size.files * size.rows, size.rows)
    expected = local_seconds(shape, costs, processes)
    off, each = found / expected - 1, "process" if processes == 1 else "processes"
    return Row(
        work=f"{size.files} files of {size.rows:,} rows, {processes} {each}",
        against=f"predicted: {expected:.2f} s",
        aim=f"within {CLOSE:.0%}",
        measured=f"{found:.2f} s ({off:+.0%})",
        reached=abs(off) <= CLOSE,
    )


def cluster(costs: Costs, machines: Machines) -> Iterator[Row]:
    """What is assumed, and what follows."""
    said = {name: getattr(machines, name) for name in Machines.__slots__}
    task = max(costs.task, dask_task_seconds())
    said |= {"seconds_per_task": f"{task:.2g}", "rows": "10^9", "rows_per_part": PART}
    yield Row(work="assumed of the cluster", against="-", aim="-", measured="-", reached=True, details=said)
    for name, row in (("this function", costs.row), (f"a model of {MODEL_ROW * 1e3:g} ms a row", MODEL_ROW)):
        for rows in (10**3, 10**4, 10**5, 10**6, 10**7):
            shape = shape_of(10**9, rows)
            found = predicted(shape, replace(costs, row=row, task=task), machines)
            alone = 10**9 * row / (machines.count * machines.processes)
            yield Row(
                work=f"10^9 rows, {shape.files:,} files, {name}",
                against=f"rows alone: {_told(alone)}",
                aim="-",
                measured=_told(found.seconds),
                reached=True,
                details={
                    "limit": found.limit,
                    "computing": _told(found.computing),
                    "scheduling": _told(found.scheduling),
                    "names": _told(found.names),
                    "bytes": _told(found.carrying),
                    "journal": f"{found.journal:.1%} of computing",
                },
            )


def cost_row(processes: int, costs: Costs) -> Row:
    """What was measured."""
    micro = {name: f"{getattr(costs, name) * 1e6:,.2f} µs" for name in ("row", "part")}
    milli = {name: f"{getattr(costs, name) * 1e3:,.2f} ms" for name in ("block", "file", "task", "start")}
    each = "one process" if processes == 1 else f"{processes} processes at once"
    return Row(
        work=f"costs: {each}",
        against="-",
        aim="-",
        measured="see details",
        reached=True,
        details=micro | milli,
    )


def _told(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.2g} s"
