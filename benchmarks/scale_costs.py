"""What rows, parts, blocks, files and tasks cost here: real runs, in processes that do the same at once.

Invariant: a cost is the median of rounds in which the variants take turns, after a first one that loads
modules and makes the files. What is subtracted was measured in the same rounds.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import microbatch
from benchmarks.scale_model import Costs, Shape, blocks_of

WIDTH, OUT = 64, 16
"""Values of a row that comes in, and of one that goes out; float32."""
PART = 4096
"""Rows of a part."""
OF_NAMES = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.listdir", "os.scandir")
"""What Python tells of operations on names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run."""

    small: int = 2_000
    """Rows of a small file, which costs little more than any file."""
    large: int = 300_000
    """Rows of a large one."""
    files: int = 4
    """Files of the runs that are predicted."""
    rows: int = 150_000
    """Rows of each of them."""
    rounds: int = 7
    """Rounds of each measurement; the median counts."""


def features(x: np.ndarray) -> np.ndarray:
    """A function of rows that takes about a microsecond for each."""
    squares = np.tanh(x * x)
    return squares.reshape(len(x), OUT, -1).sum(-1)


def shape_of(rows: int, rows_per_file: int) -> Shape:
    """The rows of this benchmark."""
    return Shape(
        rows=rows,
        rows_per_file=rows_per_file,
        rows_per_part=PART,
        input_bytes=4 * WIDTH,
        output_bytes=4 * OUT,
    )


def measured(runs: Runs, place: Path, size: Size) -> tuple[Costs, float]:
    """What things cost while each process of a pool runs a file; and the seconds of the run that is
    predicted from them, of the same rounds, as the machine may have others to serve in between."""
    seconds = medians(
        {
            (rows, resume): partial(runs, place, rows, runs.count, resume)
            for rows, resume in ((size.small, False), (size.small, True), (size.large, True))
        }
        | {"larger": partial(runs, place, size.rows, size.files, True)},
        size.rounds,
    )
    task = statistics.median(runs.empty(200) / 200 for _ in range(size.rounds))
    plain, small, large, larger = seconds.values()
    rough = (large - small) / (size.large - size.small)
    costs = Costs(row=rough, part=part_seconds(), block=0.0, file=plain, task=task, start=runs.start)
    few, many = (blocks_of(shape_of(rows, rows), costs) for rows in (size.small, size.large))
    block = max(0.0, (small - plain) / few)  # without `resume` nothing waits for the disk after a block
    rows = size.large - size.small
    row = (large - small - (many - few) * block) / rows - costs.part / PART
    file = max(0.0, small - few * block - costs.part - size.small * row)
    return replace(costs, row=max(row, 1e-9), block=block, file=file), larger


def medians(calls: dict[Any, Callable[[], float]], rounds: int) -> dict[Any, float]:
    """What each says, the median of rounds in turns; a first round loads modules and makes files."""
    said = [[call() for call in calls.values()] for _ in range(rounds + 1)][1:]
    return {name: statistics.median(each) for name, each in zip(calls, zip(*said, strict=True), strict=True)}


class Runs:
    """Runs files in the processes of a pool."""

    def __init__(self, processes: ProcessPoolExecutor, count: int, start: float) -> None:
        self._processes = processes
        self.count = count
        """How many there are."""
        self.start = start
        """Seconds until all of them could run a task."""

    def __call__(self, place: Path, rows: int, files: int, resume: bool) -> float:
        """Seconds for so many files, each made beforehand."""
        sources = [_source(place, rows, number) for number in range(files)]
        return _seconds(lambda: list(self._processes.map(_one, sources, [resume] * files)))

    def empty(self, tasks: int) -> float:
        """Seconds for so many tasks that do nothing."""
        return _seconds(lambda: list(self._processes.map(_nothing, range(tasks))))


@contextmanager
def pool(count: int) -> Iterator[Runs]:
    """So many processes with one thread each."""
    before, os.environ["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS"), "1"
    started, together = time.perf_counter(), 0.3
    try:
        with ProcessPoolExecutor(count, get_context("spawn")) as processes:
            list(processes.map(_ready, [together] * count))
            yield Runs(processes, count, time.perf_counter() - started - together)
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def part_seconds() -> float:
    """Seconds of a part beyond its rows: many parts against few, in this process."""
    x, seconds = np.ones((1 << 16, 4), np.float32), []
    for parts in (1024, 64):
        with microbatch.wrap(
            lambda rows: rows + 1, verify="never", policy="fixed", num_ubatches=parts, schedule="sequential"
        ) as f:
            f(x)
            seconds.append(statistics.median(_seconds(lambda: f(x)) for _ in range(9)))
    return max(0.0, (seconds[0] - seconds[1]) / (1024 - 64))


def operations_per_file(place: Path, size: Size) -> float:
    """How often a run opens, makes, renames or removes a file, counted in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        return float(processes.submit(_counted, _source(place, size.small, 0)).result())


def dask_task_seconds() -> float:
    """Seconds of a task in the scheduler of Dask, with two processes; 0 where it is not installed."""
    if find_spec("distributed") is None:
        return 0.0
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        client.gather(client.map(_nothing, range(100)))
        return _seconds(lambda: client.gather(client.map(_nothing, range(1000, 2000)))) / 1000


def _source(place: Path, rows: int, number: int) -> Path:
    path = place / f"{rows}-{number}.npy"
    if not path.exists():
        np.save(path, np.random.default_rng(number).random((rows, WIDTH), np.float32))
    return path


def _one(source: Path, resume: bool) -> int:
    """A task: all rows of a file into another."""
    options: dict[str, Any] = {"max_tokens_per_ubatch": PART, "verify": "never", "thread_pool_size": 1}
    output = source.with_name(f"{source.stem}-out.npy")
    return microbatch.run_file(features, source, output, resume=resume, schedule="sequential", **options).rows


def _counted(source: Path) -> int:
    """Operations on names in one run, of those that Python tells; the first run loads modules."""
    _one(source, True)
    counted: list[str] = []
    folder = str(source.parent)

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event in OF_NAMES and given and str(given[0]).startswith(folder):
            counted.append(event)

    sys.addaudithook(hook)
    _one(source, True)
    return len(counted)


def _nothing(number: int) -> int:
    return number


def _ready(seconds: float) -> None:
    """Keep one process busy until the others are there."""
    time.sleep(seconds)


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
