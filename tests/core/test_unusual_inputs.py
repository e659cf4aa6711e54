"""Unusual inputs at the front door that are taken as they are: no rows, odd containers, shared memory,
late calls."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import Layout
from microbatch.errors import ClosedError, UnprovenError
from tests.refusing import refused, started_threads

X = np.arange(8.0)
FIXED: dict[str, Any] = {"num_ubatches": 4, "policy": "fixed", "schedule": "parallel"}


def double(ids: Any, mask: Any = None) -> Any:
    return ids * 2


def nested(depth: int) -> list[Any]:
    tree: list[Any] = [X]
    for _ in range(depth):
        tree = [tree]
    return tree


@pytest.mark.bad_input(3)
def test_no_rows_are_one_call() -> None:
    sizes: list[int] = []
    with (
        started_threads() as started,
        microbatch.wrap(lambda x: (sizes.append(len(x)), x)[1], **FIXED) as wrapped,
    ):
        assert wrapped(X[:0]).shape == (0,)
    assert (sizes, started) == ([0], [])


@pytest.mark.bad_input(16)
def test_more_ubatches_than_rows_are_as_many_as_rows() -> None:
    with microbatch.wrap(double, **FIXED) as wrapped:
        np.testing.assert_array_equal(wrapped(X[:3]), 2 * X[:3])
        assert wrapped.last_report is not None and wrapped.last_report.sizes == (1, 1, 1)


@pytest.mark.counted
@pytest.mark.bad_input(36, 37, 38, 40)
@pytest.mark.parametrize("value", ["eight ch", b"eight ch", np.array(3.0), [1] * 7, [[1, 2], [3]]], ids=repr)
def test_what_stays_whole(value: Any) -> None:
    seen: list[Any] = []

    def step(ids: Any, mask: Any) -> Any:
        seen.append(mask)
        return ids

    with microbatch.wrap(step, **FIXED) as wrapped:
        np.testing.assert_array_equal(wrapped(X, value), X)
    assert len(seen) == 4 and all(np.array_equal(one, value) for one in seen if not isinstance(value, list))
    assert seen[0] == value


@pytest.mark.bad_input(40)
def test_a_list_with_an_entry_per_row_is_cut() -> None:
    with microbatch.wrap(lambda ids, mask: ids * np.array(mask)[:, None], **FIXED) as wrapped:
        np.testing.assert_array_equal(wrapped(X, list(range(8))), X * np.arange(8)[:, None])


@pytest.mark.bad_input(40)
def test_rows_of_a_declared_list_may_differ_in_length() -> None:
    rows = [[number] * number for number in range(8)]
    layout = Layout(inputs={"rows": microbatch.tokens()}, outputs={"output": microbatch.tokens()})
    with microbatch.wrap(lambda rows: [len(row) for row in rows], layout=layout, **FIXED) as wrapped:
        assert wrapped(rows) == list(range(8))


@pytest.mark.bad_input(39)
def test_keys_of_any_kind_and_a_hundred_levels() -> None:
    with microbatch.wrap(lambda tree: tree, **FIXED) as wrapped:
        np.testing.assert_array_equal(wrapped({2: X, (3, 4): X})[3, 4], X)
        assert str(wrapped(nested(100))) == str(nested(100))


@pytest.mark.bad_input(41)
@pytest.mark.parametrize(
    "x",
    [
        np.array([None, "a", 3, ()], object),
        np.array([(1, 2.0)] * 4, [("a", "i4"), ("b", "f8")]),
        np.ma.masked_array(np.arange(4.0), [0, 1, 0, 1]),
    ],
    ids=["objects", "records", "masked"],
)
def test_arrays_of_unusual_kinds_are_cut(x: Any) -> None:
    with microbatch.wrap(lambda part: part.copy(), **FIXED) as wrapped:
        result = wrapped(x)
    assert type(result) is type(x) and result.tolist() == x.tolist()


@pytest.mark.counted
@pytest.mark.bad_input(44)
@pytest.mark.parametrize(
    "make", [np.asfortranarray, lambda x: x[::2, ::-1], lambda x: x.T], ids=["F", "steps", "T"]
)
def test_any_memory_order_is_cut_as_views(make: Callable[[Any], Any]) -> None:
    x = make(np.arange(64.0).reshape(8, 8))
    shared: list[bool] = []

    def step(part: Any) -> Any:
        shared.append(np.shares_memory(part, x))
        return part * 2

    with microbatch.wrap(step, **FIXED) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x * 2)
    assert shared == [True] * 4


@pytest.mark.bad_input(42)
class TestRowsThatShareMemory:
    """Expanded inputs: read in silence, written with one warning."""

    shared = staticmethod(lambda: np.lib.stride_tricks.as_strided(np.zeros((1, 2)), (8, 2), (0, 8)))

    def test_a_function_that_writes_is_found(self) -> None:
        def in_place(ids: Any) -> Any:
            ids += 1
            return ids.copy()

        with (
            microbatch.wrap(in_place, **{**FIXED, "num_ubatches": 8}) as wrapped,
            pytest.warns(UserWarning, match="one and the same memory"),
            pytest.raises(UnprovenError, match="another at the size of the step"),
        ):
            wrapped(self.shared())

    @pytest.mark.counted
    def test_where_nothing_is_tried_it_is_warned_of_once(self) -> None:
        def in_place(ids: Any) -> Any:
            ids += 1
            return ids.copy()

        with microbatch.wrap(in_place, **{**FIXED, "num_ubatches": 8, "schedule": "sequential"}) as wrapped:
            with pytest.warns(
                UserWarning,
                match=r"ids has rows that are one and the same memory, and the function writes into it",
            ) as told:
                wrapped(self.shared())
            assert [warning.filename for warning in told] == [__file__]
            wrapped(self.shared())  # a second warning would be an error

    def test_a_function_that_reads_is_not(self) -> None:
        with microbatch.wrap(double, **FIXED) as wrapped:
            np.testing.assert_array_equal(wrapped(X, self.shared()), 2 * X)
            np.testing.assert_array_equal(wrapped(self.shared()), np.zeros((8, 2)))

    def test_the_argument_is_named_inside_a_tree(self) -> None:
        def in_place(batch: Any) -> Any:
            batch["mask"][:] = 3
            return batch["ids"]

        with (
            microbatch.wrap(in_place, **FIXED) as wrapped,
            pytest.warns(UserWarning, match=r"batch\['mask'\] has rows that are one and the same memory"),
        ):
            wrapped({"ids": X, "mask": self.shared()})

    def test_rows_of_their_own_may_be_written(self) -> None:
        def in_place(ids: Any) -> Any:
            ids += 1
            return ids

        with microbatch.wrap(in_place, **FIXED) as wrapped:
            np.testing.assert_array_equal(wrapped(X.copy()), X + 1)


@pytest.mark.counted
@pytest.mark.bad_input(64)
def test_a_wrapper_may_be_called_inside_its_own_step() -> None:
    depth: list[int] = []

    def step(x: Any) -> Any:
        if len(x) <= 2:
            depth.append(len(x))
            return x * 2
        return wrapped(x[: len(x) // 2 * 2])

    with microbatch.wrap(step, num_ubatches=2, policy="fixed", schedule="parallel") as wrapped:
        np.testing.assert_array_equal(wrapped(X), 2 * X)
    assert sum(depth) == 8


@pytest.mark.bad_input(63)
def test_after_shutdown() -> None:
    wrapped = microbatch.wrap(double, **FIXED)
    wrapped(X)
    wrapped.shutdown()
    refused(
        lambda: wrapped(X),
        ClosedError,
        ("shut down; wrap the function again",),
        lambda: microbatch.wrap(double)(X),
    )


@pytest.mark.bad_input(63)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_forked_child_and_at_exit_a_wrapper_works() -> None:
    program = (
        "import atexit, os, numpy, microbatch\n"
        "w = microbatch.wrap(lambda x: x + 1, num_ubatches=4, policy='fixed', schedule='parallel')\n"
        "def step(): assert w(numpy.arange(8)).tolist() == list(range(1, 9)); print('done', flush=True)\n"
        "step(); atexit.register(step); child = os.fork()\n"
        "step()\n"
        "assert not child or os.waitpid(child, 0)[1] == 0\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["done"] * 5
