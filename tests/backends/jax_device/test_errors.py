"""What goes wrong with arrays of JAX: told in a sentence, recovered where it is memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import ArgumentValueError, LayoutError

jax = pytest.importorskip("jax", reason="JAX is not installed: tox -e jax")
jnp = jax.numpy

SCHEDULES = ["sequential", "parallel", "pingpong", "streamed"]
X = jnp.asarray(np.arange(60.0, dtype="f4").reshape(20, 3))


def double(x: Any) -> Any:
    return x * 2


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad], ids=["jit", "vmap", "grad"])
def test_what_a_transform_traces_is_refused(transform: Any) -> None:
    """Whatever its size: a traced array has no values, so nothing can be shown of it."""
    wrapped = microbatch.wrap(lambda x: double(x).sum(), num_ubatches=2)
    with pytest.raises(LayoutError, match=r"traces it.*wrap\(jax\.jit\(f\)\)"):
        transform(lambda x: wrapped(x).sum())(X)


def test_an_array_that_is_gone_is_refused() -> None:
    gone = X + 1
    gone.delete()
    with microbatch.wrap(double, num_ubatches=2) as wrapped:
        with pytest.raises((LayoutError, RuntimeError), match="deleted"):
            wrapped(gone)
        with pytest.raises((LayoutError, RuntimeError), match="deleted"):
            wrapped({"there": X, "gone": gone})


@pytest.mark.counted
@pytest.mark.parametrize("schedule", ["sequential", "streamed"])
def test_donating_what_every_part_is_given_is_told(schedule: str) -> None:
    taking = jax.jit(lambda w, x: {"rows": x @ w, "w": w * 2}, donate_argnums=0)
    layout = microbatch.Layout(inputs={"0": microbatch.replicate()}, outputs={"w": microbatch.replicate()})
    wrapped = microbatch.wrap(taking, num_ubatches=3, layout=layout, schedule=schedule)
    with wrapped, pytest.raises(ArgumentValueError, match=r"donate_argnums.*every part is given whole"):
        wrapped(jnp.ones((3, 3)), X)


def test_a_function_that_takes_weights_for_itself_runs_whole() -> None:
    """The calls on a few rows are given a copy of them, so that the whole call still can."""
    taking = jax.jit(lambda x, w: {"rows": x + w, "w": w * 2}, donate_argnums=1)
    wrapped = microbatch.wrap(taking, num_ubatches=3)
    with wrapped, pytest.warns(UserWarning, match=r"not cut.*donate_argnums"):
        result = wrapped(X, jnp.ones(3))
    np.testing.assert_array_equal(result["rows"], X + 1)
    np.testing.assert_array_equal(result["w"], 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_parts_that_are_donated_leave_the_batch_as_it_was(schedule: str) -> None:
    """They may share memory with it, which JAX then copies."""
    taking, x = jax.jit(double, donate_argnums=0), X + 0
    with microbatch.wrap(taking, num_ubatches=3, schedule=schedule) as wrapped:
        np.testing.assert_array_equal(wrapped(x), X * 2)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(wrapped(x), X * 2)


@pytest.mark.counted
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_error_in_a_part_reaches_the_caller_as_it_was(schedule: str) -> None:
    def fails(x: Any) -> Any:
        if bool((x == 30).any()):
            raise KeyError("row 10")
        return double(x)

    with microbatch.wrap(fails, num_ubatches=4, schedule=schedule) as wrapped:
        with pytest.raises(KeyError, match="row 10") as caught:
            wrapped(X)
        assert any("ubatch" in text for text in caught.value.__notes__)
        np.testing.assert_array_equal(wrapped(X[:9]), X[:9] * 2)


@pytest.mark.counted
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_error_inside_of_a_compiled_part_is_raised_by_its_call(schedule: str) -> None:
    """JAX raises it when somebody waits for the array, and that is before the part counts as done."""

    def checked(x: Any) -> Any:
        if (x == 30).any():
            raise ValueError("a value of 30")
        return np.asarray(x)

    f = jax.jit(lambda x: jax.pure_callback(checked, jax.ShapeDtypeStruct(x.shape, x.dtype), x) * 2)
    wrapped = microbatch.wrap(f, num_ubatches=4, schedule=schedule)
    with wrapped, pytest.raises(Exception, match="a value of 30") as caught:
        wrapped(X)
    assert any("ubatch" in text for text in caught.value.__notes__)


class Tight:
    """A function that runs out of memory above so many rows, in the words of XLA."""

    def __init__(self, most: int, text: str) -> None:
        self.most, self.text = most, text
        self.tried: list[int] = []

    def __call__(self, x: Any) -> Any:
        self.tried.append(len(x))
        if len(x) > self.most:
            raise jax.errors.JaxRuntimeError(self.text)
        return double(x)


TEXTS = [
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8589934592 bytes.",
    "RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes.",
    "INTERNAL: Out of memory allocating 8589934592 bytes.",
]


@pytest.mark.counted
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("text", TEXTS)
def test_a_part_that_runs_out_of_memory_runs_again_in_smaller_ones(text: str, schedule: str) -> None:
    tight = Tight(3, text)
    with microbatch.wrap(tight, num_ubatches=2, schedule=schedule) as wrapped:
        result = wrapped(X)
    assert isinstance(result, jax.Array)
    np.testing.assert_array_equal(result, X * 2)
    assert max(tight.tried) == 10


@pytest.mark.counted
def test_memory_that_jax_itself_lacks() -> None:
    """A real allocation that cannot be, in parts that are too large."""

    def large(x: Any) -> Any:
        if len(x) > 5:
            jnp.zeros(1 << 50, "u1").block_until_ready()
        return double(x)

    with microbatch.wrap(large, num_ubatches=2) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)
        assert wrapped.last_report.oom_sizes


def test_an_output_that_needs_memory_only_when_it_is_waited_for() -> None:
    """The call of a compiled function returns before its work has failed; the part runs again all the
    same."""

    def scarce(x: Any) -> Any:
        if len(x) > 5:
            raise MemoryError("Out of memory")
        return np.asarray(x)

    def called(x: Any) -> Any:
        return jax.pure_callback(scarce, jax.ShapeDtypeStruct(x.shape, x.dtype), x) * 2

    with microbatch.wrap(jax.jit(called), num_ubatches=2, verify="never") as wrapped:
        try:
            np.testing.assert_array_equal(wrapped(X), X * 2)
        except jax.errors.JaxRuntimeError as error:  # XLA hands on the text, not always the class
            pytest.fail(f"not recovered: {error}")
