"""How often a jitted function is compiled: once a size, and for few sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch

jax = pytest.importorskip("jax", reason="JAX is not installed: tox -e jax")
jnp = jax.numpy


class Traced:
    """A jitted function that remembers for how many rows it was traced."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.jitted = jax.jit(self._rows)

    def _rows(self, x: Any) -> Any:
        self.sizes.append(x.shape[0])
        return jnp.tanh(x @ jnp.ones((x.shape[1], 4))) + x[:, :1]


def batch(rows: int, columns: int = 64) -> Any:
    return jnp.asarray(np.random.default_rng(0).normal(size=(rows, columns)).astype("f4"))


@pytest.mark.parametrize("rows", [4096, 10_000, 10_007, 65_536])
@pytest.mark.parametrize("columns", [3, 64])
def test_no_size_given_compiles_three_times_at_most(rows: int, columns: int) -> None:
    """Showing that the function may be cut, and what the policy tries in ten calls, included."""
    traced, x = Traced(), batch(rows, columns)
    expected = jnp.tanh(x @ jnp.ones((columns, 4))) + x[:, :1]
    with microbatch.wrap(traced.jitted) as wrapped:
        for _ in range(10):
            np.testing.assert_allclose(wrapped(x), expected, rtol=1e-5, atol=1e-5)
    assert len(traced.sizes) <= 3, traced.sizes


def test_batches_of_any_size_compile_few() -> None:
    """Beside whole batches that are smaller than a part."""
    traced = Traced()
    with microbatch.wrap(traced.jitted) as wrapped:
        sizes = set[int]()
        for rows in range(20_000, 21_000, 77):
            wrapped(batch(rows))
            sizes |= set(wrapped.last_report.sizes)
    assert len(sizes) <= 4
    assert len(traced.sizes) <= 6, traced.sizes


def test_a_number_of_parts_compiles_its_sizes_and_one_more() -> None:
    traced = Traced()
    with microbatch.wrap(traced.jitted, num_ubatches=4) as wrapped:
        for _ in range(3):
            wrapped(batch(4096))
    assert sorted(traced.sizes) == [5, 1024]


def test_nothing_is_compiled_to_cut_and_to_join() -> None:
    """On the CPU rows are cut out and joined without a compiler, however many parts there are."""
    compiled = list[str]()
    x, f = batch(1000), jax.jit(lambda x: x + 1)
    for size in (100, 50, 40):
        with microbatch.wrap(f, max_tokens_per_ubatch=size, policy="fixed", verify="never") as wrapped:
            f(x[:size])  # so that the function itself is compiled
            before = x[:0] + 1  # and what this test needs
            del before
            with jax.log_compiles(True), pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "jax._src.compiler.backend_compile_and_load", _counting(compiled), raising=False
                )
                wrapped(x)
    assert not compiled


def _counting(compiled: list[str]) -> Any:
    from jax._src import compiler

    real = compiler.backend_compile_and_load

    def counting(*args: Any, **kwargs: Any) -> Any:
        compiled.append("one")
        return real(*args, **kwargs)

    return counting


def test_what_xla_says_of_memory_is_believed() -> None:
    """With a limit that the whole batch would pass, no small parts come first to see what is needed."""
    traced, x = Traced(), batch(50_000, 3)
    with microbatch.wrap(traced.jitted, memory_limit="1GiB") as wrapped:
        wrapped(x)
        assert not wrapped.last_report.calibration
    assert len(traced.sizes) <= 3, traced.sizes
