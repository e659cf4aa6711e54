"""What model code calls gives NumPy's numbers on arrays of the test devices, in any order of work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microbatch.testing import AdversarialBackend, RecordingBackend
from microbatch.testing.strategies import work_orders


def attention(x: Any) -> Any:
    scores = np.einsum("ik,jk->ij", x, x) / np.sqrt(x.shape[-1])
    scores = np.where(np.tril(np.ones(scores.shape)) > 0, scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)) @ x


def top_two(x: Any) -> Any:
    order = np.argsort(-x, axis=-1)[..., :2]
    return np.take_along_axis(x, order, axis=-1)


def experts(x: Any) -> Any:
    """Rows to two experts by their sign, and back to their places."""
    out = np.zeros_like(x)
    chosen = x.sum(axis=1) > 0
    out[chosen] = x[chosen] * 2
    out[~chosen] = x[~chosen] - 1
    return out


def rotary(x: Any) -> Any:
    half = (x.shape[-1] + 1) // 2
    turned = np.concatenate([-x[..., half:], x[..., :half]], axis=-1)
    angle = np.arange(x.shape[0])[:, None] / 7
    return x * np.cos(angle) + turned * np.sin(angle)


def in_place(x: Any) -> Any:
    y = x.copy()
    y += 1
    y *= x
    y -= x / 2
    y **= 2
    y /= 3
    y //= 1
    y @= np.eye(x.shape[1])
    y[y > 4] = 4
    y[..., 0] = x[..., -1]
    return y


def pooled(x: Any) -> Any:
    """Sums of neighbouring rows, by a table of where each begins."""
    return np.add.reduceat(x, np.arange(0, len(x), 2), axis=0)


def scattered(x: Any) -> Any:
    y = np.zeros_like(x)
    np.add.at(y, np.zeros(len(x), "i8"), x)
    np.put_along_axis(y, np.argmax(x, axis=1)[:, None], 7.0, axis=1)
    return y


def complex_parts(x: Any) -> Any:
    z = x + 1j * x[::-1]
    return z.real * 2, z.imag, z.conj(), np.abs(z), np.angle(z), x.imag


MODELS: dict[str, Callable[[Any], Any]] = {
    "attention": attention,
    "complex": complex_parts,
    "experts": experts,
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(0.8 * (x + 0.0447 * x**3))),
    "in place": in_place,
    "layer norm": lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5),
    "linear": lambda x: np.matmul(x, np.ones((x.shape[1], 5)), out=np.zeros_like(x, shape=(len(x), 5))) + 1,
    "log softmax": lambda x: x - np.log(np.exp(x).sum(axis=1, keepdims=True)),
    "pooled": pooled,
    "rotary": rotary,
    "scattered": scattered,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "top two": top_two,
    "embedding": lambda x: x[np.arange(7) % len(x)] + np.take(x, [0, -1, 0], axis=0).sum(),
    "one hot": lambda x: np.eye(x.shape[1])[np.argmax(x, axis=1)],
}

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "arrange": lambda x: (
        np.transpose(x), np.swapaxes(x, 0, 1), np.moveaxis(x, 0, 1), x.T, x.mT, np.flip(x, 0),
    ),
    "average": lambda x: (np.average(x, axis=0, weights=np.arange(1.0, len(x) + 1)), np.median(x, axis=0)),
    "bits": lambda x: (x.astype("i4") & 3, x.astype("i4") << 1, ~x.astype("i4"), x.astype("?")),
    "compare": lambda x: (x == x.max(), x != 0, x <= 1, np.logical_and(x > 0, x < 3), np.isfinite(np.log(x))),
    "counts": lambda x: (np.count_nonzero(x > 0, axis=1), np.bincount((x.ravel() + 20).astype("i8"))),
    "cumulative": lambda x: (
        np.cumsum(x, 1), np.maximum.accumulate(x, axis=0), np.diff(x, axis=1), x.cumprod(axis=0),
    ),
    "decisions": lambda x: (float(x[0, 0]), int(x.sum()), bool(x.any()), x.tolist(), x[0, 0].item()),
    "division": lambda x: (x // 2, x % 2, np.divmod(x, 2.0), np.modf(x / 3), np.round(x / 3, 1)),
    "einsum": lambda x: (
        np.einsum("ij,kj->ik", x, x), np.einsum("ij->j", x), np.tensordot(x, x, axes=([1], [1])),
    ),
    "indices": lambda x: (np.nonzero(x), np.argwhere(x > 0), np.searchsorted(np.sort(x.ravel()), x[:, 0])),
    "joins": lambda x: (
        np.stack([x, x], -1), np.concatenate([x, x], 1), np.hstack([x, x]), np.block([[x], [x]]),
    ),
    "like": lambda x: (
        np.full_like(x, 2), np.zeros((2, 2), like=x), np.asarray([1.0], like=x), np.ones_like(x),
    ),
    "linear algebra": lambda x: (np.linalg.norm(x, axis=1), np.linalg.inv(x.T @ x + np.eye(x.shape[1]) * 99)),
    "methods": lambda x: (
        x.ravel(), x.flatten(), x.dot(x.T), x.diagonal(), x.repeat(2, axis=0), x.clip(-1, 1),
    ),
    "none and dots": lambda x: (x[:, None, :] - x[None], x[..., -1], x[::-1, ::2], x[-1]),
    "out": lambda x: (
        np.multiply(x, x, out=np.zeros_like(x)),
        np.sum(x, axis=0, out=np.zeros_like(x[0])),
        np.divmod(x, 2.0, out=(np.zeros_like(x), np.zeros_like(x))),
        np.add(x, 1, where=x > 0, out=x.copy()),
    ),
    "padding": lambda x: (np.pad(x, ((0, 1), (1, 0))), np.roll(x, 1, axis=0), np.tile(x, (2, 1))),
    "reductions": lambda x: (
        x.sum(0), x.mean(), x.min(1), np.max(x, axis=1, initial=-9.0), np.sum(x, where=x > 0), x.std(0),
    ),
    "scalars": lambda x: (1 - x, 2**x, np.float64(2) * x, 1 / (x + 50), -x, abs(x), +x),
    "shapes": lambda x: (
        x.reshape(-1), x.reshape(-1, 1), np.expand_dims(x, 0), np.squeeze(x[None]),
        np.broadcast_to(x, (2, *x.shape)),
    ),
    "sorts": lambda x: (
        np.sort(x, axis=0), np.argsort(x, axis=1), np.partition(x, 0, axis=1), np.unique(x), x.argmin(axis=0),
    ),
    "splits": lambda x: (np.array_split(x, 2), list(x), [part.sum() for part in np.split(x, len(x))]),
    "where": lambda x: (
        np.where(x > 0, x, -x), np.select([x > 0, x < -1], [x, x * 2], 0), np.clip(x, -1, 1),
        np.maximum(x, 0),
    ),
}  # fmt: skip

PROGRAMS = MODELS | FUNCTIONS


def assert_same(got: Any, expected: Any) -> None:
    """Same containers, shapes, dtypes and numbers."""
    if isinstance(expected, (tuple, list)):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
        return
    one, other = np.asarray(got), np.asarray(expected)
    assert (one.shape, one.dtype) == (other.shape, other.dtype)
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PROGRAMS)
@settings(max_examples=10)
@given(rows=st.integers(1, 4), columns=st.integers(1, 4), seed=st.integers(0, 9), order=work_orders())
def test_programs_compute_what_numpy_computes(
    name: str, rows: int, columns: int, seed: int, order: Any
) -> None:
    values = np.random.default_rng(seed).integers(-6, 7, (rows, columns)) / 2
    with np.errstate(all="ignore"):
        expected = PROGRAMS[name](values.copy())
    for device in (RecordingBackend(), AdversarialBackend(order)):
        with device.stream("compute").activate():
            assert_same(PROGRAMS[name](device.array(values)), expected)


def test_metadata_needs_no_work() -> None:
    device = AdversarialBackend()
    x = device.array(np.ones((2, 3)))
    launched = device.pending
    assert (x.nbytes, x.itemsize, x.size, x.ndim, np.shape(x)) == (48, 8, 6, 2, (2, 3))
    assert x.flags.c_contiguous and not x.T.flags.c_contiguous
    assert x.mT.shape == (3, 2) and x.real.shape == (2, 3)
    assert device.pending == launched
