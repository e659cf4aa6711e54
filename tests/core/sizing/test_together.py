"""Ubatches that take turns on threads: how many are alive at the same time, whoever asks for how many."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import Proposal, UBatchSlice, dbo
from microbatch.loading.plugins import Plugins
from microbatch.schedules.pingpong import groups

pytestmark = pytest.mark.counted


class Alive:
    """A function of rows that counts its threads, and how many calls are under way at the same time."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.under_way = self.most = self.calls = 0

    def __call__(self, x: Any) -> Any:
        self.threads.add(threading.get_ident())
        self.calls += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        dbo.dbo_yield()
        self.under_way -= 1
        return x * 2


def run(rows: int, **options: Any) -> tuple[Alive, Any]:
    """One step in turns; what was alive, and its report."""
    alive, x = Alive(), np.arange(rows)
    with microbatch.wrap(alive, schedule="pingpong", layout=LAYOUT, **options) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x * 2)
        assert wrapped._engine._runner.workers.num_threads <= max(1, len(alive.threads)) - 1
        return alive, wrapped.last_report


LAYOUT = microbatch.Layout(inputs={"0": microbatch.tokens()}, outputs={"output": microbatch.tokens()})


@given(count=st.integers(0, 60), most=st.integers(1, 9))
def test_groups_are_few_in_order_and_as_equal_as_they_can_be(count: int, most: int) -> None:
    made = groups([None] * count, most)  # type: ignore[list-item]
    sizes = [len(group) for group in made]
    assert sum(sizes) == count and max(sizes) <= most
    assert len(sizes) == max(1, -(-count // most)) and max(sizes) - min(sizes) <= 1
    numbered = [number for group in groups(range(count), most) for number in group]  # type: ignore[arg-type]
    assert numbered == list(range(count))


@given(
    rows=st.integers(1, 40), cap=st.integers(1, 12), size=st.none() | st.integers(1, 6),
    named=st.booleans(),
)  # fmt: skip
def test_a_cap_on_tokens_holds_and_no_more_threads_than_the_size_are_used(
    rows: int, cap: int, size: int | None, named: bool
) -> None:
    """Whatever parts the cap makes; the rows of 391 parts do not take 391 threads."""
    options: dict[str, Any] = {} if size is None else {"thread_pool_size": size}
    alive, report = run(rows, max_tokens_per_ubatch=cap, policy="tokens" if named else "auto", **options)
    assert max(report.sizes) <= cap
    assert alive.most <= (size or 4)
    assert len(alive.threads) <= (size or 4)
    assert alive.calls == len(report.sizes)


def test_many_parts_take_turns_in_groups_and_the_report_says_so() -> None:
    alive, report = run(2000, max_tokens_per_ubatch=5)
    assert len(report.sizes) == 400
    assert (alive.most, len(alive.threads)) == (4, 4)
    assert report.reason.endswith("400 to keep the limit of 5, 4 at a time taking turns")


class Asking:
    """A policy that asks for so many parts."""

    def __init__(self, count: int) -> None:
        self.count = count

    def propose(self, request: Any) -> Proposal:
        return Proposal(count=self.count, reason="asking")

    def observe(self, report: Any) -> None: ...


class Asked(Plugins):
    def __init__(self, count: int) -> None:
        super().__init__()
        self._policies = Asking(count)

    __slots__ = ("_policies",)

    def policy(self, name: str, **options: Any) -> Any:
        return self._policies


def test_a_number_of_parts_that_a_policy_asks_for_is_no_larger_than_the_size() -> None:
    alive, report = run(64, policy="asking", plugins=Asked(9), thread_pool_size=3)
    assert (alive.most, report.sizes) == (3, (21, 22, 21)) or (alive.most, len(report.sizes)) == (3, 3)
    assert report.reason == "asking; 3 that take turns, as thread_pool_size is 3"
    _, report = run(2, policy="asking", plugins=Asked(9), thread_pool_size=3)
    assert report.reason == "asking; 2 can be filled"


def test_with_a_size_of_one_a_step_runs_whole() -> None:
    alive, report = run(64, thread_pool_size=1)
    assert (alive.calls, report.sizes, len(alive.threads)) == (1, (64,), 1)


def test_a_number_that_was_asked_for_is_alive_at_the_same_time() -> None:
    """The default of the size gives way to it: the function may wait for all of them."""
    alive, report = run(64, num_ubatches=9)
    assert (alive.most, len(report.sizes), len(alive.threads)) == (9, 9, 9)


@pytest.mark.parametrize("where", ["argument", "environment", "file"])
def test_above_a_size_that_was_set_it_runs_in_groups(
    where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So many parts were asked for, and no more threads allowed: both are kept, and the report says how."""
    options: dict[str, Any] = {"num_ubatches": 5}
    if where == "environment":
        monkeypatch.setenv("MICROBATCH_THREAD_POOL_SIZE", "3")
    elif where == "file":
        monkeypatch.chdir(tmp_path)
        (tmp_path / "microbatch.toml").write_text("thread_pool_size = 3\n")
    else:
        options["thread_pool_size"] = 3
    alive, report = run(10, **options)
    assert (alive.most, len(alive.threads), report.sizes) == (3, 3, (2,) * 5)
    assert report.reason == "5 ubatches asked for; 3 at a time taking turns"


def test_an_order_without_turns_is_not_bound_by_it() -> None:
    for options in ({"schedule": "parallel"}, {"schedule": "pingpong", "enable_overlap": False}):
        with microbatch.wrap(Alive(), num_ubatches=5, thread_pool_size=3, **options) as wrapped:
            wrapped(np.arange(10))
            assert wrapped.last_report is not None and len(wrapped.last_report.sizes) == 5


def slices(count: int) -> list[UBatchSlice]:
    return [UBatchSlice.from_range(i, i + 1, i, i + 1) for i in range(count)]


def test_slices_that_were_named_are_alive_at_the_same_time_where_no_size_was_set() -> None:
    alive = Alive()
    with microbatch.wrap(alive, schedule="pingpong", layout=LAYOUT) as wrapped:
        wrapped(np.arange(7), ubatch_slices=slices(7))
        assert (alive.most, len(alive.threads)) == (7, 7)
        assert wrapped.last_report is not None and wrapped.last_report.reason == "ubatch_slices given"
    alive = Alive()
    with microbatch.wrap(alive, schedule="pingpong", layout=LAYOUT, thread_pool_size=3) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(7), ubatch_slices=slices(7)), np.arange(7) * 2)
        assert (alive.most, len(alive.threads), alive.calls) == (3, 3, 7)
        assert wrapped.last_report is not None
        assert wrapped.last_report.reason == "ubatch_slices given; 3 at a time taking turns"


def test_greenlets_need_no_threads_and_are_all_alive() -> None:
    pytest.importorskip("greenlet")
    alive, report = run(300, driver="greenlets", max_tokens_per_ubatch=1, thread_pool_size=2)
    assert (alive.most, len(alive.threads), len(report.sizes)) == (300, 1, 300)


def test_an_error_in_a_group_names_its_ubatch_and_later_groups_never_begin() -> None:
    seen: list[int] = []

    def function(x: Any) -> Any:
        seen.append(int(x[0]))
        dbo.dbo_yield()
        if x[0] == 5:
            raise ValueError("row 5")
        return x

    with (
        microbatch.wrap(function, schedule="pingpong", layout=LAYOUT, max_tokens_per_ubatch=1) as wrapped,
        pytest.raises(ValueError, match="row 5") as caught,
    ):
        wrapped(np.arange(12))
    assert sorted(seen) == list(range(8))
    assert any("ubatch 5 of 12" in note for note in caught.value.__notes__)


def test_a_wait_that_took_too_long_names_the_ubatches_of_its_group() -> None:
    block = threading.Event()

    def function(x: Any) -> Any:
        dbo.dbo_yield()
        if x[0] == 5:
            block.wait(30)
        dbo.dbo_yield()
        return x

    options: dict[str, Any] = {"schedule": "pingpong", "layout": LAYOUT, "max_tokens_per_ubatch": 1}
    with microbatch.wrap(function, barrier_timeout=0.2, **options) as wrapped:
        with pytest.raises(microbatch.MicrobatchError, match=r"for ubatch 5 \(ubatch 4 waits") as caught:
            wrapped(np.arange(8))
        assert "ubatch 1 " not in str(caught.value).partition("\n")[0]
        block.set()
