"""Nearest neighbours: time and peak memory, each in a fresh process, since a peak cannot be taken back."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.table import Row

QUERIES, POINTS, WIDTH = 8192, 16384, 64
ROUNDS = 3


def rows() -> list[Row]:
    """Time and peak memory above base of the full batch against ours; cold processes taking turns."""
    runs: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    for _ in range(ROUNDS):
        for side, measured in runs.items():
            measured.append(_child(side))
    plain, ours = (_medians(runs[side]) for side in ("plain", "ours"))
    assert abs(plain["checksum"] - ours["checksum"]) <= 1e-5 * abs(plain["checksum"])
    return [
        _row("time", 2.5, plain["seconds"], ours["seconds"], "s"),
        _row("peak memory above base", 27, plain["peak_mib"], ours["peak_mib"], "MiB"),
    ]


def _row(what: str, at_least: float, plain: float, ours: float, unit: str) -> Row:
    return Row(
        work=f"kNN top-10, {QUERIES}x{POINTS}, d={WIDTH}: {what}",
        against="the full batch",
        aim=f"{at_least:g}x less",
        measured=f"{plain / ours:.1f}x",
        reached=plain / ours >= at_least,
        details={"plain": f"{plain:.2f} {unit}", "ours": f"{ours:.2f} {unit}"},
    )


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def _child(side: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.knn", side]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def main(side: str) -> None:
    """Run one side, cold, and print its figures as JSON."""
    import torch

    import microbatch
    from benchmarks.workloads import nearest

    torch.manual_seed(4)
    points, queries = torch.randn(POINTS, WIDTH), torch.randn(QUERIES, WIDTH)
    function = nearest(points)
    function(queries[:2])  # libraries load their kernels at the first call
    step = function if side == "plain" else microbatch.wrap(function)
    base = _peak_mib()
    started = time.perf_counter()
    values, _ = step(queries)
    seconds = time.perf_counter() - started
    peak = max(_peak_mib() - base, 0.1)
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "checksum": float(values.double().sum())}))


if __name__ == "__main__":
    main(sys.argv[1])
