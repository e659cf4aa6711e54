"""A data set of four times the memory that there is goes in and comes out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microbatch

LIMIT = 128 << 20
"""Bytes that the child may have beyond what a small run has needed."""
WIDTH = 256
ROWS = 4 * LIMIT // (8 * WIDTH)
ALLOCATOR = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
}
"""What is let go goes back to the system; else the holes between blocks are measured, which differ each time.

So set, the run needs less than half of `LIMIT`.
"""
CHILD = """
import resource, sys
import microbatch

def double(x, t):
    return {"y": x * 2, "u": [text.upper() for text in t]}

def size():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

def run(place, output):
    return microbatch.run_file(double, place, output, columns=["x", "t"], keep=["id"], num_ubatches=1)

run("small.parquet", "small_out.parquet")
most = size() + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (most, most))
print(run("big", "out.parquet").rows)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and RLIMIT_AS")
def test_four_times_the_limit(tmp_path: Path) -> None:
    """In a child under that limit; order and values are those of the input."""
    arrow: Any = pytest.importorskip("pyarrow", reason="needs pyarrow (extra data)")
    parquet: Any = pytest.importorskip("pyarrow.parquet")

    def rows(start: int, stop: int) -> Any:
        ids = np.arange(start, stop)
        x = arrow.FixedSizeListArray.from_arrays(arrow.array(np.repeat(ids.astype("f8"), WIDTH)), WIDTH)
        return arrow.table({"id": ids, "x": x, "t": [f"row {number}" for number in ids]})

    (tmp_path / "big").mkdir()
    parquet.write_table(rows(0, 2000), tmp_path / "small.parquet")
    edges = np.linspace(0, ROWS, 13).astype(int)
    for file in range(3):
        with parquet.ParquetWriter(tmp_path / f"big/{file}.parquet", rows(0, 1).schema) as writer:
            for group in range(4):
                writer.write_table(rows(*edges[4 * file + group :][:2]))
    env = {**os.environ, **ALLOCATOR}
    command = [sys.executable, "-c", CHILD, str(LIMIT)]
    ended = subprocess.run(
        command, check=False, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"{ROWS}\n"
    at = 0
    for batch in parquet.ParquetFile(tmp_path / "out.parquet").iter_batches(8192):
        ids = batch.column("id").to_numpy()
        np.testing.assert_array_equal(ids, np.arange(at, at + len(ids)))
        y = batch.column("y").flatten().to_numpy().reshape(len(ids), WIDTH)
        assert (y == 2.0 * ids[:, None]).all()
        assert batch.column("u")[-1].as_py() == f"ROW {ids[-1]}"
        at += len(ids)
    assert at == ROWS


@pytest.mark.skipif(sys.platform != "linux", reason="needs RssAnon")
def test_pages_of_mapped_files_are_no_memory_of_the_run(tmp_path: Path) -> None:
    """64 MiB in and 64 MiB out, and parts of 1 MiB."""
    np.save(tmp_path / "x.npy", np.ones((1 << 13, 1 << 10)))
    summary = microbatch.run_file(
        lambda x: x + 1, tmp_path / "x.npy", tmp_path / "y.npy", max_tokens_per_ubatch=128
    )
    assert summary.peak_memory_bytes < 48 << 20


def test_standard_input_is_not_read_ahead_of_its_rows(tmp_path: Path) -> None:
    """A stream without an end goes through, a block at a time."""
    script = """
import microbatch, itertools, sys
from microbatch.files.line_rows import LineRows
from microbatch.files.source import StandardInput

taken = 0
def lines():
    global taken
    for number in itertools.count():
        taken += 1
        yield str(number)

rows = LineRows(StandardInput(), lines(), None, whole=False)
assert rows.take(10).args[0] == [str(number) for number in range(10)]
assert taken == 10
assert len(rows.take(1000, 50).args[0]) == 25
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
