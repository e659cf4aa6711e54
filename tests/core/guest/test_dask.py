"""Dask runs a wrapper over the blocks of arrays and frames, and gives the plain result; `tox -e clusters`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import microbatch
from tests.support.decorated import Scaler, in_three

distributed = pytest.importorskip(
    "distributed", reason="distributed is not installed: tox -e clusters has it"
)
array = pytest.importorskip("dask.array", reason="dask is not installed: tox -e clusters has it")
X = np.arange(40.0).reshape(20, 2)
MOST = 6
"""Rows above which the functions here run out of memory."""
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning",
    "ignore:.*:ResourceWarning",
    "ignore:Running on a single-machine scheduler",  # beside a cluster, on purpose
)


def small(x: Any) -> Any:
    """Square roots, of a few rows at a time."""
    if len(x) > MOST:
        raise MemoryError("too many rows")
    return x**0.5


def letters(frame: Any) -> Any:
    """A frame of two columns, with the index of its rows."""
    if len(frame) > MOST:
        raise MemoryError("too many rows")
    return frame.assign(letters=frame["text"].str.len()).drop(columns="text")


def lengths(frame: Any) -> Any:
    """A column."""
    return frame["text"].str.len() * 2


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two processes."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster, timeout=60) as client:
        yield client


@pytest.fixture(params=["synchronous", "threads", "cluster"])
def compute(request: pytest.FixtureRequest) -> Any:
    """Computes a collection in one thread, in threads, or in processes."""
    if request.param == "cluster":
        client = request.getfixturevalue("client")
        return lambda lazy: client.compute(lazy).result(timeout=60)
    return lambda lazy: lazy.compute(scheduler=request.param)


def frame() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(
        {"text": ["x" * (row % 5) for row in range(40)], "row": np.arange(40)}, index=np.arange(40) * 3
    )


def test_dasks_processes_run_a_wrapper(client: Any) -> None:
    functions = [in_three, microbatch.wrap(lambda x: x - 1, num_ubatches=2), Scaler(2.0).scaled]
    futures = [client.submit(function, X) for function in functions]
    for function, future in zip(functions, futures, strict=True):
        np.testing.assert_array_equal(future.result(timeout=60), function(X))


@pytest.mark.parametrize("chunks", [(7, 2), (1, 2), (20, 2), ((12, 0, 8), 2)])
@pytest.mark.parametrize(
    "wrapped", [in_three, microbatch.wrap(lambda x: x - 1), Scaler(2.0).scaled, microbatch.wrap(small)]
)
def test_the_blocks_of_an_array(compute: Any, wrapped: Any, chunks: Any) -> None:
    """The type is found out by a call on no rows; blocks have one row, no row, or all of them."""
    blocks = array.from_array(X, chunks=chunks).map_blocks(wrapped)
    assert blocks.dtype == X.dtype
    np.testing.assert_array_equal(compute(blocks), wrapped(X))


def test_memory_that_runs_out_in_a_block_costs_the_part(compute: Any) -> None:
    blocks = array.from_array(X, chunks=(20, 2)).map_blocks(microbatch.wrap(small))
    np.testing.assert_array_equal(compute(blocks), X**0.5)


@pytest.mark.parametrize("partitions", [1, 3, 40])
def test_the_partitions_of_a_frame(compute: Any, partitions: int) -> None:
    """Columns and their types are found out by a call on two rows; index and order stay."""
    frames = pytest.importorskip("dask.dataframe")
    pandas = pytest.importorskip("pandas")
    rows = frames.from_pandas(frame(), npartitions=partitions)
    plain = frame().assign(letters=frame()["text"].str.len()).drop(columns="text")
    result = compute(rows.map_partitions(microbatch.wrap(letters)))
    pandas.testing.assert_frame_equal(result, plain, check_dtype=False)
    column = compute(rows.map_partitions(microbatch.wrap(lengths, num_ubatches=2)))
    assert column.tolist() == (frame()["text"].str.len() * 2).tolist()
    assert column.index.tolist() == frame().index.tolist()


def test_partitions_that_a_filter_has_emptied(compute: Any) -> None:
    frames = pytest.importorskip("dask.dataframe")
    rows = frames.from_pandas(frame(), npartitions=5)
    column = rows[rows["row"] > 30].map_partitions(microbatch.wrap(lengths, num_ubatches=2))
    assert compute(column).tolist() == [len(text) * 2 for text in frame()["text"][31:]]


def test_dasks_own_processes() -> None:
    """Without a cluster; they are spawned, and import what they are given."""
    blocks = array.from_array(X, chunks=(20, 2)).map_blocks(microbatch.wrap(small), dtype=X.dtype)
    np.testing.assert_array_equal(blocks.compute(scheduler="processes", num_workers=2), X**0.5)
    blocks = array.from_array(X, chunks=(7, 2)).map_blocks(in_three, dtype=X.dtype)
    np.testing.assert_array_equal(blocks.compute(scheduler="processes", num_workers=2), X + 1)


TOKENS = """
import sys
import dask
import microbatch
from dask.base import tokenize
from tests.support.decorated import Scaler, halved, in_three

@microbatch.wrap(num_ubatches=2)
def own(x):
    return x * 2

dask.config.set({"tokenize.ensure-deterministic": True})
wrapped = [microbatch.wrap(halved, num_ubatches=count) for count in (2, 3)]
scaled = [Scaler(2.0).scaled, Scaler(3.0).scaled]
functions = [in_three, own, *wrapped, microbatch.wrap(lambda x: x - 1), *scaled]
print(*map(tokenize, functions))
"""


def test_names_of_results_are_the_same_in_every_process() -> None:
    """And differ by function, object and options; Dask raises for what it cannot name surely."""
    said = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", TOKENS]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.split())
    assert said[0] == said[1]
    assert len(set(said[0])) == len(said[0]) == 7
