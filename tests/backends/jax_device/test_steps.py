"""Real steps on arrays of JAX: the result is that of the plain call, in type, dtype, device and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch

jax = pytest.importorskip("jax", reason="JAX is not installed: tox -e jax")
jnp = jax.numpy

SCHEDULES = ["sequential", "parallel", "pingpong", "streamed"]
X = jnp.asarray(np.arange(60.0, dtype="f4").reshape(20, 3))
W = jnp.asarray(np.linspace(-1, 1, 15, dtype="f4").reshape(3, 5))
NUMPY = np.arange(60.0, dtype="f4").reshape(20, 3)
KEYS = jax.random.split(jax.random.key(3), 20)


class Pair(NamedTuple):
    first: Any
    second: Any


@jax.tree_util.register_dataclass
@dataclass
class State:
    mean: Any
    scale: Any


@jax.tree_util.register_pytree_node_class
class Registered:
    """Neither a mapping nor a dataclass: known to JAX's registry alone."""

    __slots__ = ("inner", "name")

    def __init__(self, inner: Any, name: str) -> None:
        self.inner, self.name = inner, name

    def tree_flatten(self) -> Any:
        return (self.inner,), self.name

    @classmethod
    def tree_unflatten(cls, name: str, children: Any) -> Registered:
        return cls(*children, name)


def loss(w: Any, x: Any) -> Any:
    return jnp.tanh(x @ w).sum()


CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "jitted": (jax.jit(lambda x: jnp.tanh(x) * 2), (X,)),
    "plain": (lambda x: jnp.tanh(x) * 2, (X,)),
    "jitted with weights": (jax.jit(lambda w, x: jnp.dot(x, w)), (W, X)),
    "a partial of a jitted one": (partial(jax.jit(lambda w, x: jnp.dot(x, w)), W), (X,)),
    "vmap": (jax.vmap(lambda row: jnp.cumsum(row)), (X,)),
    "jitted vmap of two": (jax.jit(jax.vmap(lambda row, n: row * n)), (X, X[:, 0])),
    "gradients of each row": (jax.jit(jax.vmap(jax.grad(loss, 1), (None, 0))), (W, X)),
    "dictionary": (jax.jit(lambda d: {"sum": d["x"].sum(-1), "x": d["x"] + 1}), ({"x": X},)),
    "named tuple": (jax.jit(lambda p: Pair(p.second, p.first * 2)), (Pair(X, X[:, 1]),)),
    "dataclass": (jax.jit(lambda s: State(s.scale * 2, s.mean)), (State(X, X[:, 0]),)),
    "registered": (lambda r: Registered(r.inner + 1, r.name), (Registered(X, "rows"),)),
    "NumPy in": (jax.jit(lambda x: jnp.sin(x)), (NUMPY,)),
    "NumPy out": (lambda x: np.asarray(x) * 2, (X,)),
    "both in": (jax.jit(lambda x, y: x + y), (X, NUMPY)),
    "both in, NumPy first": (lambda y, x: (x + y, y * 2), (NUMPY, X)),
    "texts in": (
        lambda texts: jnp.asarray([len(text) for text in texts]),
        ([f"t{n}" * n for n in range(20)],),
    ),
    "bfloat16": (jax.jit(lambda x: jnp.exp(x)), ((X / 60).astype(jnp.bfloat16),)),
    "float8": (jax.jit(lambda x: x.astype(jnp.float8_e4m3fn)), (X,)),
    "booleans": (jax.jit(lambda x: x > 30), (X,)),
    "complex": (jax.jit(lambda x: jax.lax.complex(x, -x)), (X,)),
    "weak type": (jax.jit(lambda x: x * 2), (jax.lax.full((20, 3), 2.0) * jnp.arange(20.0)[:, None],)),
    "weak type out": (lambda x: jax.lax.full((x.shape[0],), 1.0), (X,)),
    "random keys": (jax.jit(jax.vmap(lambda key, row: row + jax.random.normal(key, row.shape))), (KEYS, X)),
    "keys out": (jax.jit(jax.vmap(lambda key: jax.random.fold_in(key, 7))), (KEYS,)),
    "old keys": (
        jax.vmap(lambda key: jax.random.uniform(key, (2,))),
        (jax.random.split(jax.random.PRNGKey(1), 20),),
    ),
    "committed": (jax.jit(lambda x: x + 1), (jax.device_put(X, jax.devices()[0]),)),
    "scalars beside": (jax.jit(lambda x, n: (x * n, jnp.float32(3))), (X, 2.5)),
    "arrays as they are": (lambda x: x, (X,)),
}


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, jax.Array):
        assert found.dtype == expected.dtype
        assert found.sharding == expected.sharding
        assert found.committed == expected.committed
        if jnp.issubdtype(expected.dtype, jax.dtypes.extended):
            found, expected = jax.random.key_data(found), jax.random.key_data(expected)
        assert found.weak_type == expected.weak_type
        kind = np.asarray(expected).astype("c8" if jnp.iscomplexobj(expected) else "f4")
        np.testing.assert_allclose(np.asarray(found).astype(kind.dtype), kind, rtol=2e-6, atol=1e-6)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    else:
        ours, theirs = jax.tree.flatten(found), jax.tree.flatten(expected)
        assert ours[1] == theirs[1]
        for one, other in zip(ours[0], theirs[0], strict=True):
            same(one, other)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("call", CALLS)
def test_the_result_is_the_plain_calls(call: str, schedule: str) -> None:
    """In three parts, under each schedule."""
    function, given = CALLS[call]
    with microbatch.wrap(function, policy="fixed", num_ubatches=3, schedule=schedule) as wrapped:
        same(wrapped(*given), function(*given))
        assert len(wrapped.last_report.sizes) == 3, wrapped.last_report.reason


@pytest.mark.parametrize("call", ["jitted", "plain", "dictionary", "random keys", "bfloat16"])
def test_inputs_are_as_before(call: str) -> None:
    function, given = CALLS[call]
    before = [jax.random.key_data(x) if x.dtype == KEYS.dtype else x + 0 for x in jax.tree.leaves(given)]
    with microbatch.wrap(function, policy="fixed", num_ubatches=3) as wrapped:
        wrapped(*given)
    for leaf, kept in zip(jax.tree.leaves(given), before, strict=True):
        assert not leaf.is_deleted()
        now = jax.random.key_data(leaf) if leaf.dtype == KEYS.dtype else leaf
        np.testing.assert_array_equal(np.asarray(now, "f4"), np.asarray(kept, "f4"))


@given(
    rows=st.integers(2, 40),
    columns=st.integers(1, 9),
    parts=st.integers(1, 5),
    dtype=st.sampled_from(["f4", "i4", "bool", "bfloat16", "u1", "f2"]),
    schedule=st.sampled_from(SCHEDULES),
)
def test_any_sizes_and_dtypes(rows: int, columns: int, parts: int, dtype: str, schedule: str) -> None:
    """Parts of the CPU share memory with their batch at any alignment, and are joined as they came."""
    x = jnp.arange(rows * columns).reshape(rows, columns).astype(dtype)
    function = lambda x: (x[:, ::-1], {"first": x[:, 0]})
    with microbatch.wrap(function, num_ubatches=min(parts, rows), schedule=schedule, verify="never") as f:
        same(f(x), function(x))


def test_an_output_is_found_along_another_axis() -> None:
    layout = microbatch.Layout(inputs={"0": microbatch.tokens(1)}, outputs={"output": microbatch.tokens(1)})
    with microbatch.wrap(jax.jit(lambda x: x * 2), layout=layout, num_ubatches=3) as wrapped:
        same(wrapped(X.T), X.T * 2)
        assert len(wrapped.last_report.sizes) == 3


def test_packed_rows_come_back_in_their_order() -> None:
    lengths = np.arange(20) % 3 + 1
    layout = microbatch.Layout(lengths=lambda args, kwargs: lengths)
    f = jax.jit(lambda x: x[:, 0] * 2)
    with microbatch.wrap(f, layout=layout, splitter="packed", num_ubatches=3) as wrapped:
        np.testing.assert_array_equal(wrapped(X), f(X))


def test_a_result_goes_to_a_place_of_numpy() -> None:
    """`out=` cannot be an array of JAX; one of NumPy is filled."""
    place = np.zeros((20, 3), "f4")
    with microbatch.wrap(jax.jit(lambda x: x * 2), num_ubatches=3) as wrapped:
        assert wrapped(X, out=place) is place
        np.testing.assert_array_equal(place, NUMPY * 2)
        with pytest.raises((TypeError, ValueError), match=r"JAX|immutable|written|read-only"):
            wrapped(X, out=jnp.zeros((20, 3)))


def test_a_function_that_needs_all_rows_runs_whole() -> None:
    x = jnp.ones((4096, 64)) * jnp.arange(4096.0)[:, None]
    f = jax.jit(lambda x: x - x.mean(0))
    with microbatch.wrap(f) as wrapped, pytest.warns(UserWarning, match="not cut"):
        same(wrapped(x), f(x))


def test_arrays_choose_the_backend() -> None:
    with microbatch.wrap(jax.jit(jnp.sin), num_ubatches=2) as wrapped:
        wrapped(X)
        assert wrapped.last_report.backend == "jax"
    with microbatch.wrap(jax.jit(jnp.sin), num_ubatches=2, backend="jax") as wrapped:
        same(wrapped(NUMPY), jnp.sin(X))


def test_a_list_of_arrays() -> None:
    texts = [jnp.ones(3) * number for number in range(12)]
    with microbatch.wrap(lambda rows: jnp.stack([row * 2 for row in rows]), num_ubatches=3) as wrapped:
        same(wrapped(texts), jnp.stack(texts) * 2)


def test_check_and_tune() -> None:
    f = jax.jit(lambda x: jnp.tanh(x))
    assert microbatch.check(f, X).cuttable
    assert not microbatch.check(jax.jit(lambda x: x - x.mean(0)), X).cuttable
