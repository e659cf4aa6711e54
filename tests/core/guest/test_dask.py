"""Dask's processes run a wrapper and give the plain result; `tox -e dask`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import microbatch
from tests.support.decorated import Scaler, in_three

distributed = pytest.importorskip("distributed")
X = np.arange(40.0).reshape(20, 2)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two processes."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.mark.filterwarnings("ignore")
def test_dasks_processes_run_a_wrapper(client: Any) -> None:
    functions = [in_three, microbatch.wrap(lambda x: x - 1, num_ubatches=2), Scaler(2.0).scaled]
    futures = [client.submit(function, X) for function in functions]
    for function, future in zip(functions, futures, strict=True):
        np.testing.assert_array_equal(future.result(timeout=60), function(X))


@pytest.mark.filterwarnings("ignore")
def test_a_wrapper_runs_over_the_blocks_of_an_array(client: Any) -> None:
    array = pytest.importorskip("dask.array")
    blocks = array.from_array(X, chunks=(7, 2)).map_blocks(in_three, dtype=X.dtype)
    np.testing.assert_array_equal(blocks.compute(), X + 1)
