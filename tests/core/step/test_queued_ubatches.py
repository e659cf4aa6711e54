"""A step of many ubatches makes each when it is taken; nobody who runs one can tell."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.step.queued_ubatches import MANY
from microbatch.turns.context import UBatchContext

COUNT = 3 * MANY
X = np.arange(2 * COUNT)
TRIES = 3
"""Of one row: as it is, after caches were given back, and after garbage was collected."""
SCHEDULES = ("sequential", "parallel")


def wrapped(function: Any, schedule: str, **options: Any) -> Any:
    known = {"policy": "fixed", "num_ubatches": COUNT, "verify": "never", "thread_pool_size": 3}
    return microbatch.wrap(function, schedule=schedule, **known | options)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_each_runs_once_and_knows_its_place(schedule: str) -> None:
    seen: list[tuple[int, int, int]] = []

    def function(rows: Any) -> Any:
        ubatch = microbatch.current_ubatch()
        assert ubatch is not None and ubatch.slice_info.num_tokens == len(rows)
        seen.append((ubatch.ubatch_id, ubatch.num_ubatches, int(rows[0])))
        return rows * 2

    with wrapped(function, schedule) as step:
        np.testing.assert_array_equal(step(X), X * 2)
    assert sorted(seen) == [(number, COUNT, 2 * number) for number in range(COUNT)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_first_error_ends_it(schedule: str) -> None:
    begun: list[int] = []

    def function(rows: Any) -> Any:
        begun.append(int(rows[0]))
        if rows[0] >= COUNT:
            raise ValueError("this row")
        return rows

    with wrapped(function, schedule) as step:
        with pytest.raises(ValueError, match="this row"):
            step(X)
        assert COUNT <= max(begun) <= COUNT + 8  # those in flight ended
        begun.clear()
        np.testing.assert_array_equal(step(X[:COUNT]), X[:COUNT])  # the next step has all of its own
        assert len(begun) == COUNT


def test_where_two_take_each_others_memory_the_rest_run_one_at_a_time() -> None:
    """The first row fails at each try, as long as the second one is inside."""
    together, given_up = threading.Barrier(2), threading.Event()
    failed, ended = list[int](), list[int]()

    def alone(rows: Any) -> Any:
        row = int(rows[0])
        if row < 2 and not failed:
            together.wait(timeout=60)
        if row == 0 and len(failed) < TRIES:
            failed.append(row)
            if len(failed) == TRIES:
                given_up.set()
            raise MemoryError("taken by the other one")
        if row == 1:
            assert given_up.wait(timeout=60)
        ended.append(row)
        return rows * 2

    with wrapped(alone, "parallel", thread_pool_size=2) as step:
        np.testing.assert_array_equal(step(X[:COUNT]), X[:COUNT] * 2)
        assert "one at a time" in step.last_report.reason
    assert sorted(ended) == list(range(COUNT))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_progress_counts_all_rows(schedule: str) -> None:
    told: list[tuple[int, int]] = []
    with wrapped(lambda rows: rows, schedule, progress=lambda *each: told.append(each[:2])) as step:
        step(X)
    assert told[-1] == (len(X), len(X))


def test_few_contexts_are_alive_at_the_same_time() -> None:
    alive: list[int] = []

    def function(rows: Any) -> Any:
        if rows[0] == 2 * MANY:
            alive.append(sum(type(each) is UBatchContext for each in gc.get_objects()))
        return rows

    with wrapped(function, "sequential") as step:
        step(X)
    assert alive[0] < 100
