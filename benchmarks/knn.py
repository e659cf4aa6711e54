"""Nearest neighbours: time and peak memory, each in a fresh process, since a peak cannot be taken back."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.table import Row

QUERIES, POINTS, WIDTH = 8192, 16384, 64
TOLD = (16, 32, 64)
"""Sizes that a user might name, shown beside ours: what one size can reach in time and in memory."""
ROUNDS = 3


def rows() -> list[Row]:
    """Time and peak memory above base of the full batch against ours; cold processes taking turns."""
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in ("plain", "ours", *map(str, TOLD))}
    for _ in range(ROUNDS):
        for side, measured in runs.items():
            measured.append(_child(side))
    found = {side: _medians(measured) for side, measured in runs.items()}
    plain = found["plain"]["checksum"]
    assert all(abs(plain - side["checksum"]) <= 1e-5 * abs(plain) for side in found.values())
    return [
        _row("time", 2.5, {side: each["seconds"] for side, each in found.items()}, "s"),
        _row("peak memory above base", 27, {side: each["peak_mib"] for side, each in found.items()}, "MiB"),
    ]


def _row(what: str, at_least: float, measured: Mapping[str, float], unit: str) -> Row:
    plain, ours = measured["plain"], measured["ours"]
    told = {f"told {size} rows": f"{measured[str(size)]:.2f} {unit}" for size in TOLD}
    return Row(
        work=f"kNN top-10, {QUERIES}x{POINTS}, d={WIDTH}: {what}",
        against="the full batch",
        aim=f"{at_least:g}x less",
        measured=f"{plain / ours:.1f}x",
        reached=plain / ours >= at_least,
        details={"plain": f"{plain:.2f} {unit}", "ours": f"{ours:.2f} {unit}", **told},
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


def _wrapped(function: Callable[[Any], Any], side: str) -> Callable[[Any], Any]:
    import microbatch

    if side == "ours":
        return microbatch.wrap(function)
    return microbatch.wrap(function, policy="tokens", max_tokens_per_ubatch=int(side))


def main(side: str) -> None:
    """Run one side, cold, and print its figures as JSON."""
    import torch

    from benchmarks.workloads import nearest

    torch.manual_seed(4)
    points, queries = torch.randn(POINTS, WIDTH), torch.randn(QUERIES, WIDTH)
    function = nearest(points)
    function(queries[:2])  # libraries load their kernels at the first call
    step = function if side == "plain" else _wrapped(function, side)
    base = _peak_mib()
    started = time.perf_counter()
    values, _ = step(queries)
    seconds = time.perf_counter() - started
    peak = max(_peak_mib() - base, 0.1)
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "checksum": float(values.double().sum())}))


if __name__ == "__main__":
    main(sys.argv[1])
