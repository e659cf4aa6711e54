"""Out of memory: only the failed part runs again, smaller, with nothing of the failed attempt alive."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.binding.rules import Layout, collect, reduce, tokens
from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import StepOutOfMemoryError
from microbatch.turns.kept_errors import without_frames

pytestmark = pytest.mark.counted


class Device:
    """A function whose calls fail above a capacity, and that keeps count of what it computed."""

    def __init__(self, capacity: int, error: type[Exception] = MemoryError) -> None:
        self.capacity = capacity
        self.error = error
        self.finished: list[int] = []
        self.failed: list[int] = []

    def __call__(self, x: Any) -> Any:
        if len(x) > self.capacity:
            self.failed.append(len(x))
            raise self.error("device memory ran out")
        self.finished.extend(x.tolist())
        return x * 2


@pytest.mark.bad_input(53)
@pytest.mark.case(63, 68)
@given(
    rows=st.integers(1, 300),
    capacity=st.integers(1, 300),
    count=st.integers(1, 8),
    schedule=st.sampled_from(["sequential", "parallel"]),
)
def test_every_row_once_whatever_the_capacity(rows: int, capacity: int, count: int, schedule: str) -> None:
    device = Device(capacity)
    x = np.arange(rows)
    with microbatch.wrap(device, num_ubatches=count, schedule=schedule) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x * 2)
        report = wrapped.last_report
    assert sorted(device.finished) == list(range(rows))
    assert report is not None
    assert sorted(report.oom_sizes) == sorted(device.failed)
    if schedule == "sequential":
        assert len(device.failed) <= rows.bit_length() + 1


@pytest.mark.case(62, 63)
def test_one_row_that_does_not_fit_says_what_was_tried() -> None:
    with microbatch.wrap(Device(0), num_ubatches=1) as wrapped, pytest.raises(StepOutOfMemoryError) as caught:
        wrapped(np.arange(8))
    assert "8, 4, 2, 1" in str(caught.value)
    assert "bytes in use" in str(caught.value)
    assert isinstance(caught.value.__cause__, MemoryError)


@pytest.mark.case(66)
@pytest.mark.parametrize("error", [ValueError, RuntimeError, ZeroDivisionError])
def test_other_errors_are_never_retried(error: type[Exception]) -> None:
    device = Device(3, error)
    with microbatch.wrap(device, num_ubatches=1) as wrapped, pytest.raises(error, match="ran out"):
        wrapped(np.arange(8))
    assert device.failed == [8]


@pytest.mark.case(60)
@pytest.mark.parametrize("chained", [False, True])
def test_nothing_of_a_failed_attempt_is_alive_when_the_next_starts(chained: bool) -> None:
    alive: list[weakref.ref[Any]] = []
    seen: list[int] = []

    class Big:
        pass

    def inner(big: Any) -> None:
        raise MemoryError("inner")

    def hungry(x: Any) -> Any:
        seen.append(sum(reference() is not None for reference in alive))
        if len(x) > 2:
            big = Big()
            alive.append(weakref.ref(big))
            if chained:
                try:
                    inner(big)
                except MemoryError as error:
                    raise MemoryError("outer") from error
            raise MemoryError("out")
        return x

    with microbatch.wrap(hungry, num_ubatches=1) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(9)), np.arange(9))
    assert len(alive) >= 2
    assert set(seen) == {0}


def test_a_chain_that_contains_itself_is_stripped() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__context__, second.__context__ = second, first
    group = ExceptionGroup("both", [first])
    try:
        raise group
    except ExceptionGroup:
        pass
    without_frames(group)
    assert group.__traceback__ is None


def mean(values: list[Any], weights: list[int]) -> Any:
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)


COLLECT = Layout(inputs={"0": tokens()}, outputs={"rows": tokens(), "sizes": collect(), "mean": reduce(mean)})


@given(rows=st.integers(2, 60), capacity=st.integers(1, 60), count=st.integers(1, 5))
def test_what_is_collected_or_reduced_is_that_of_the_parts_that_ran(
    rows: int, capacity: int, count: int
) -> None:
    device = Device(capacity)

    def f(x: Any) -> dict[str, Any]:
        return {"rows": device(x), "sizes": len(x), "mean": x.mean()}

    x = np.arange(rows)
    slices = [UBatchSlice.from_range(0, rows, 0, rows)] if count == 1 else None
    with microbatch.wrap(
        f, layout=COLLECT, policy="fixed", num_ubatches=count, schedule="sequential"
    ) as wrapped:
        result = wrapped(x, ubatch_slices=slices)
    np.testing.assert_array_equal(result["rows"], x * 2)
    assert result["mean"] == pytest.approx(x.mean())
    sizes = result["sizes"]
    assert all(type(size) is int and size <= capacity for size in sizes)
    assert sum(sizes) == rows


@pytest.fixture
def no_collection(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collections that are asked for, as a list; none comes by itself."""
    asked: list[int] = []
    collect = gc.collect
    collect()
    gc.disable()
    monkeypatch.setattr(gc, "collect", lambda *generation: asked.append(1) or 0)
    yield asked
    monkeypatch.setattr(gc, "collect", collect)
    gc.enable()


@pytest.mark.parametrize("schedule", ["sequential", "parallel"])
@pytest.mark.parametrize("policy", ["auto", "memory-model,throughput,pressure,buckets"])
def test_no_garbage_is_collected_where_nothing_fails_and_none_is_made(
    schedule: str, policy: str, no_collection: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.ones((4096, 64))
    with microbatch.wrap(lambda x: x * 2, policy=policy, schedule=schedule) as wrapped:
        for _ in range(30):
            wrapped(x)
        monkeypatch.undo()
        gc.collect()
        for _ in range(10):
            wrapped(x)
        assert gc.collect() == 0  # steps make no cycles, so automatic collections find nothing either
    assert not no_collection
