"""The functions of the backend on arrays, memory and state of threads."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.extend.device import device_of

jax = pytest.importorskip("jax", reason="JAX is not installed: tox -e jax")
jnp = jax.numpy

from microbatch_backends.host.backend import CpuBackend
from microbatch_backends.jax_device import arrays
from microbatch_backends.jax_device.backend import JaxBackend

X = jnp.asarray(np.arange(4096.0, dtype="f4").reshape(256, 16))


def test_a_device_says_that_it_joins() -> None:
    assert device_of(JaxBackend()).joins
    assert not device_of(CpuBackend()).joins


def test_rows_share_memory_with_their_batch() -> None:
    taken = arrays.rows(X, slice(64, 128), 0)
    assert taken.unsafe_buffer_pointer() == X.unsafe_buffer_pointer() + 64 * 16 * 4


def test_joining_takes_no_copy_beside_the_result() -> None:
    joined = arrays.concatenate([X[:100], X[100:]], 0)
    np.testing.assert_array_equal(joined, X)
    assert joined.unsafe_buffer_pointer() % arrays.ALIGNMENT == 0


def test_arrays_cannot_be_written_to() -> None:
    with pytest.raises(TypeError, match="cannot be written"):
        arrays.copy(X, X)
    with pytest.raises(TypeError, match="cannot be written"):
        arrays.scatter(X, [0], X[:1], 0)


def test_a_copy_to_the_host_converts_nothing() -> None:
    place = np.zeros((256, 16), "f4")
    arrays.copy(place, X)
    np.testing.assert_array_equal(place, X)
    with pytest.raises(TypeError, match="would convert values"):
        arrays.copy(np.zeros((256, 16), "f8"), X)


def test_keys_are_read_by_their_words() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    assert arrays.values(keys).shape == (3, 2)
    assert arrays.empty((4,), keys).dtype == keys.dtype


def test_the_host_is_watched_on_the_cpu() -> None:
    """There no size is tried that is not known to fit, and parts run side by side."""
    backend = JaxBackend()
    assert backend.parallel
    assert not backend.may_probe()
    assert backend.memory().capacity == CpuBackend().memory().capacity


@pytest.mark.counted
def test_settings_of_the_caller_hold_in_workers() -> None:
    seen = list[tuple[int, str, bool]]()

    def looking(x: Any) -> Any:
        seen.append((threading.get_ident(), str(jnp.asarray(np.ones(2)).dtype), jax.config.jax_disable_jit))
        return x * 2

    with microbatch.wrap(looking, num_ubatches=8, schedule="parallel") as wrapped:
        with jax.enable_x64(True), jax.disable_jit():
            wrapped(X)
        assert {entry[1:] for entry in seen} == {("float64", True)}
        seen.clear()
        wrapped(X)
        assert {entry[1:] for entry in seen} == {("float32", False)}


def test_a_function_of_numpy_that_answers_in_jax_is_waited_for() -> None:
    """The step's backend is that of the input, and it waits for the arrays of JAX all the same."""
    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 100, lambda _, y: jnp.tanh(y @ x), x))
    x = np.full((400, 400), 0.01, "f4")
    slow(x).block_until_ready()
    if slow(x).is_ready():
        pytest.skip("JAX did not return before its work was done, so there is nothing to wait for")
    for backend in (CpuBackend(), JaxBackend()):
        assert backend.awaiting(lambda x: [{"rows": slow(x)}])(x)[0]["rows"].is_ready()
