"""The shared BLAS limit: whatever overlaps, the number is at the end what it was at the start."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch_backends.host.limits import BlasThreads, process_blas_limit


class Library:
    def __init__(self, threads: int) -> None:
        self.threads = threads

    def get_num_threads(self) -> int:
        return self.threads

    def set_num_threads(self, threads: int) -> None:
        self.threads = threads


class Fakes(BlasThreads):
    def __init__(self, *threads: int) -> None:
        super().__init__()
        self.libraries = [Library(number) for number in threads]

    def _found(self) -> list[Library]:
        return self.libraries


@given(
    threads=st.lists(st.integers(1, 64), max_size=3),
    steps=st.lists(st.tuples(st.integers(1, 8), st.integers(0, 20)), max_size=6),
)
def test_overlapping_steps_leave_the_number_as_it_was(
    threads: list[int], steps: list[tuple[int, int]]
) -> None:
    fakes = Fakes(*threads)
    inside = []
    for workers, leaves in steps:
        held = ExitStack()
        held.enter_context(fakes.hold(workers))
        inside.append(held)
        if leaves < len(inside):
            inside.pop(leaves).close()
    for held in inside:
        held.close()
    assert [library.threads for library in fakes.libraries] == threads


@given(threads=st.integers(1, 64), workers=st.integers(1, 80))
def test_each_worker_gets_its_share_and_at_least_one(threads: int, workers: int) -> None:
    fakes = Fakes(threads, 1)
    with fakes.hold(workers):
        assert fakes.libraries[0].threads == max(1, threads // workers)
        assert fakes.libraries[1].threads == 1


def test_it_holds_until_the_last_of_the_overlapping_steps_has_left() -> None:
    fakes = Fakes(4)
    with ExitStack() as last:
        with fakes.hold(4):
            last.enter_context(fakes.hold(2))
        assert fakes.libraries[0].threads == 1
    assert fakes.libraries[0].threads == 4


def test_it_is_put_back_when_the_step_raises() -> None:
    fakes = Fakes(4)
    with pytest.raises(ZeroDivisionError), fakes.hold(4):
        raise ZeroDivisionError
    assert fakes.libraries[0].threads == 4


def test_the_blas_of_this_process_is_limited_and_put_back() -> None:
    pytest.importorskip("threadpoolctl", reason="without threadpoolctl BLAS keeps its threads")
    np.ones((2, 2)) @ np.ones((2, 2))
    now = BlasThreads()
    before = now.read()
    with process_blas_limit().hold(max(2, before)):
        assert now.read() <= 1
    assert now.read() == before


def test_all_backends_share_one_limit() -> None:
    assert process_blas_limit() is process_blas_limit()
