"""The threads of BLAS: of this process, of several libraries, and of one that counts for each thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from microbatch_backends.host.backend import CpuBackend
from microbatch_backends.host.blas import BlasThreads, process_blas_limit


@pytest.fixture
def blas() -> BlasThreads:
    """Another reader of the same libraries."""
    pytest.importorskip("threadpoolctl", reason="without threadpoolctl BLAS keeps its threads")
    np.ones((2, 2)) @ np.ones((2, 2))
    return BlasThreads()


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)


def test_the_blas_of_this_process_is_limited_and_put_back(blas: BlasThreads) -> None:
    before = blas.read()
    with process_blas_limit().hold(max(2, before)):
        assert blas.read() <= 1
    assert blas.read() == before


def test_whichever_thread_enters_or_leaves_the_number_is_set(blas: BlasThreads) -> None:
    """threadpoolctl 3.8 sets it in the thread only that asked first, and says nothing in others."""
    before = blas.read()
    if before < 2:
        pytest.skip("BLAS has one thread here, which is nothing to share out")
    first, second = process_blas_limit().hold(before), process_blas_limit().hold(before)
    first.__enter__()
    in_a_thread(second.__enter__)
    first.__exit__()
    assert blas.read() == 1
    in_a_thread(second.__exit__)
    assert blas.read() == before
    in_a_thread(first.__enter__)
    assert blas.read() == 1
    first.__exit__()
    assert blas.read() == before


def test_all_backends_share_one_limit() -> None:
    assert process_blas_limit() is process_blas_limit()


class PerThread:
    """A BLAS on top of OpenMP: each thread has a number of its own."""

    filepath, threading_layer = "openmp", "openmp"

    def __init__(self, threads: int) -> None:
        self._full = threads
        self._local = threading.local()

    def get_num_threads(self) -> int:
        return getattr(self._local, "threads", self._full)

    def set_num_threads(self, threads: int) -> None:
        self._local.threads = threads


class Fakes(BlasThreads):
    def __init__(self, *libraries: Any) -> None:
        super().__init__()
        self._fakes = list(libraries)

    def libraries(self) -> list[Any]:
        return self._fakes


def test_a_library_that_counts_for_each_thread_is_set_in_each_thread_of_a_step() -> None:
    """And left alone by the limit of the process, which another thread may put back."""
    library = PerThread(8)
    fakes, seen = Fakes(library), list[int]()

    def work() -> None:
        with fakes.share(4):
            seen.append(library.get_num_threads())
        seen.append(library.get_num_threads())

    with fakes.hold(4):
        assert library.get_num_threads() == 8
        work()
        in_a_thread(work)
    assert seen == [2, 8] * 2
    assert library.get_num_threads() == 8


def test_a_share_may_be_left_more_than_once() -> None:
    library = PerThread(8)
    share = Fakes(library).share(2)
    share.__exit__(None, None, None)
    share.__enter__()
    assert library.get_num_threads() == 4
    share.__exit__(None, None, None)
    library.set_num_threads(7)
    share.__exit__(None, None, None)
    assert library.get_num_threads() == 7


def test_a_child_that_a_thread_of_the_step_forked_has_the_number_from_before() -> None:
    library = PerThread(8)
    fakes = Fakes(library)
    with fakes.share(4):
        in_a_thread(fakes.forked)
        assert library.get_num_threads() == 2
        fakes.forked()
        assert library.get_num_threads() == 8


def test_the_limits_of_a_backend_reach_blas(blas: BlasThreads) -> None:
    before = blas.read()
    with CpuBackend().parallel_limits(max(2, before)):
        assert blas.read() <= 1
    assert blas.read() == before
