"""What the tables of peers stand on: loops written by hand that are right, and rivals that may be missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import growth
from benchmarks.busy import busy
from benchmarks.hand_loops import Work, variants
from benchmarks.installed import missing, unless
from benchmarks.plots import points_of
from benchmarks.table import Row
from benchmarks.timing import Timed, interleave

ROOT = Path(__file__).parents[2]


def two_outputs(x: Any, y: Any) -> tuple[Any, Any]:
    return x + y, x * y


@given(rows=st.integers(1, 50), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=3, unique=True))
def test_every_hand_loop_gives_the_rows_of_the_plain_call(rows: int, sizes: Sequence[int]) -> None:
    """One worker and two, joined, fresh and kept, whatever size a part has."""
    x, y = np.arange(rows, dtype=np.float32), np.arange(rows, dtype=np.float32)[::-1] + 1
    work = Work(
        function=two_outputs,
        inputs=(x, y),
        join=lambda parts: tuple(np.concatenate(column) for column in zip(*parts, strict=True)),
        empty=lambda: (np.full_like(x, np.nan), np.full_like(x, np.nan)),
    )
    loops = variants(work, sizes)
    assert len(loops) == 5 * len(sizes)
    for call in loops.values():
        np.testing.assert_array_equal(call(), two_outputs(x, y))


def test_one_output_is_given_as_it_is() -> None:
    """Not as a tuple of one."""
    x = np.arange(7.0)
    work = Work(function=np.square, inputs=(x,), join=np.concatenate, empty=lambda: (np.empty_like(x),))
    for call in variants(work, (3,)).values():
        np.testing.assert_array_equal(call(), x * x)


def test_an_error_of_a_worker_reaches_the_caller() -> None:
    """A hand loop that fails must not look fast."""
    x = np.arange(4.0)

    def failing(part: Any) -> Any:
        raise ArithmeticError("no")

    work = Work(function=failing, inputs=(x,), join=np.concatenate, empty=lambda: (np.empty_like(x),))
    for call in variants(work, (2,)).values():
        with pytest.raises(ArithmeticError, match="no"):
            call()


def test_a_rival_that_is_missing_is_a_sentence() -> None:
    """One row, which breaks no promise; nothing of the rival is touched."""

    def touched() -> Sequence[Row]:
        raise AssertionError

    (row,) = unless(missing("no_such_rival"), "work", "rival", touched)
    assert row.measured == "skipped" and row.reached
    assert row.details["why"] == "no_such_rival is not installed; `pip install --group peers` has it"
    assert missing("numpy") == ""


def test_nothing_of_a_rival_is_imported_with_the_tables() -> None:
    """So all tables are there where none of them is installed."""
    code = (
        "import sys, benchmarks.peers, benchmarks.models, benchmarks.growth, benchmarks.where;"
        "import benchmarks.plots, benchmarks.document;"
        "print(*{'jax', 'numba', 'numexpr', 'torch', 'transformers', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    assert done.stdout.strip() == ""


def test_busy_processes_end_with_their_block() -> None:
    """Also where the block raises."""
    before = children()
    with pytest.raises(ZeroDivisionError), busy(2):
        assert len(children() - before) == 2
        _ = 1 / 0
    assert children() <= before


def children() -> set[int]:
    """Processes that this one started and that have not ended."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == os.getpid():
            found.add(int(name))
    return found


def test_the_cost_of_a_ubatch_is_told_for_each_count() -> None:
    """Of few that are measured together, and of many."""
    found = growth.cost_by_count((1_000, 20_000), rounds=1)
    assert list(found) == [1_000, 20_000] and min(found.values()) > 0


def test_a_picture_has_the_points_of_one_kind_in_the_order_of_their_sizes() -> None:
    """Whatever else was measured."""
    names = ("one fresh 64", "one fresh 8", "one kept 8", "ours", "cat 8")
    timed = {name: Timed(name=name, seconds=(0.001, 0.003, 0.002)) for name in names}
    assert points_of(timed, "one fresh") == [(8, 2.0), (64, 2.0)]


def test_rounds_can_be_told_for_a_quick_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the environment, for every table."""
    monkeypatch.setenv("BENCHMARK_ROUNDS", "2")
    assert len(interleave({"one": lambda: 1}, rounds=9)["one"].seconds) == 2
