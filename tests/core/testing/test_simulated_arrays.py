"""Arrays of the test devices compute what NumPy computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError
from microbatch.testing import AdversarialBackend, RecordingBackend
from microbatch.testing.strategies import work_orders

VALUES = np.arange(12.0).reshape(4, 3) - 5

PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "arithmetic": lambda x: (x * 2 - 1) / 3 + x**2 - abs(x),
    "in place": lambda x: _in_place(x),
    "reductions": lambda x: (x.sum(axis=0), x.mean(), np.max(x, axis=1), x.std(axis=0)),
    "softmax": lambda x: np.exp(x - x.max(axis=1, keepdims=True)) / np.exp(x).sum(axis=1, keepdims=True),
    "matmul": lambda x: x @ x.T,
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "where": lambda x: np.where(x > 0, x, -x),
    "views": lambda x: x[1:, ::2].reshape(-1)[::-1] + x.T.ravel()[:6],
    "joins": lambda x: np.stack([np.concatenate([x, x[:1]]), np.vstack([x, x[2:3]])]),
    "take": lambda x: np.take(x, [3, 0, 0], axis=0),
    "index": lambda x: x[np.array([2, 0]), 1:],
    "sort": lambda x: np.sort(x[::-1], axis=0),
    "argmax": lambda x: np.argmax(x, axis=1),
    "split": lambda x: [part * 2 for part in np.split(x, 2)],
    "dtype": lambda x: x.astype("i4") // 2,
    "weights": lambda x: x @ np.eye(3),
    "cumsum": lambda x: np.cumsum(x, axis=0).clip(-3, 3),
    "out": lambda x: np.multiply(x, x, out=np.zeros_like(x)),
    "reduce": lambda x: np.add.reduce(x, axis=1),
    "outer": lambda x: np.multiply.outer(x[0], x[1]),
    "linalg": lambda x: np.linalg.inv(x[:3] @ x[:3].T + np.eye(3) * 9),
    "unique": lambda x: np.unique(x % 3),
    "mask": lambda x: x[x > 0],
    "nonzero": lambda x: np.nonzero(x)[0],
    "item": lambda x: np.asarray(float(x[1, 2]) + int(x[0, 0])),
    "loop": lambda x: sum(row for row in x),
    "fill": lambda x: np.full_like(x, 7) + np.ones_like(x),
}


def _in_place(x: Any) -> Any:
    y = x.copy()
    y += 1
    y[1:3] *= 2
    y[:, 0] = x[:, 1]
    y[[0, 3]] = 9
    np.copyto(y[3], x[0])
    return y


def as_numpy(value: Any) -> Any:
    return [as_numpy(part) for part in value] if isinstance(value, (list, tuple)) else np.asarray(value)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("make", [RecordingBackend, AdversarialBackend])
def test_programs_compute_what_numpy_computes(name: str, make: Any) -> None:
    backend = make()
    expected = as_numpy(PROGRAMS[name](VALUES.copy()))
    with backend.stream("compute").activate():
        got = as_numpy(PROGRAMS[name](backend.array(VALUES)))
    assert isinstance(got, list) == isinstance(expected, list)
    for one, other in zip(got, expected, strict=True) if isinstance(got, list) else [(got, expected)]:
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other)


def test_nothing_runs_before_somebody_waits() -> None:
    backend = AdversarialBackend()
    x = backend.array(VALUES)
    y = (x * 2).sum(axis=0)
    assert y.shape == (3,)
    assert backend.pending == 3
    np.testing.assert_array_equal(np.asarray(y), (VALUES * 2).sum(axis=0))
    assert backend.pending == 0


def test_a_host_read_waits_for_the_current_stream_only() -> None:
    backend = AdversarialBackend()
    with backend.stream("compute").activate():
        x = backend.array(VALUES)
    assert np.isnan(np.asarray(x)).all()
    with backend.stream("compute").activate():
        np.testing.assert_array_equal(np.asarray(x), VALUES)


def test_shape_errors_are_raised_where_the_mistake_is() -> None:
    backend = AdversarialBackend()
    x = backend.array(VALUES)
    with pytest.raises(ValueError, match="matmul"):
        x @ x
    with pytest.raises(ValueError, match="does not fit"):
        x[0] = np.zeros(2)
    with pytest.raises(ArgumentTypeError, match="out="):
        np.add(x, x, out=np.zeros((4, 3)))
    with pytest.raises(ArgumentTypeError, match="staging"):
        x + backend.staging((4, 3), x)
    assert backend.pending == 1


def test_an_error_of_queued_work_is_raised_where_the_host_waits() -> None:
    backend = AdversarialBackend()
    x = backend.array([2, 0])
    y = backend.array(VALUES)[x + 5]
    first, second = backend.current_stream(), backend.stream("compute")
    event = backend.event()
    event.record(first)
    second.wait(event)
    with pytest.raises(IndexError):
        second.synchronize()
    assert first.synchronize()
    np.testing.assert_array_equal(np.asarray(backend.array(VALUES) + 1), VALUES + 1)
    del y


@given(order=work_orders(), values=st.lists(st.integers(-9, 9), min_size=1, max_size=6))
def test_ordered_programs_are_right_in_any_order(order: Any, values: list[int]) -> None:
    backend = AdversarialBackend(order)
    total, last = backend.array(0), backend.event()
    last.record(backend.current_stream())
    for number, value in enumerate(values):
        purpose: Any = ("compute", "communication", "copy_in", "copy_out")[number % 4]
        stream = backend.stream(purpose)
        stream.wait(last)
        with stream.activate():
            total += value
        last.record(stream)
    last.synchronize()
    assert int(total) == sum(values)
