"""Outputs that share memory: with their inputs, with each other, with the batch they were cut from."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.binding.rules import Layout, collect, query_start_loc, reduce, replicate, tokens
from microbatch.cutting.cut import cut
from microbatch.errors import OutputMismatchError, UnprovenError
from microbatch.gathering.gather import Gather, Outputs
from microbatch.testing import AdversarialBackend
from microbatch.testing.adversarial.order import WORST_ORDERS
from microbatch.testing.given_plugins import GivenBackends
from microbatch_backends.host.backend import CpuBackend
from tests.support.binding import bind

pytestmark = pytest.mark.counted

Run = Callable[..., Any]
X = np.arange(24.0).reshape(12, 2)
SCHEDULES = ["sequential", "parallel", "pingpong", "streamed"]


def same_buffer(rows: int = 4) -> Callable[[Any], Any]:
    """A function that writes every result into the memory of the one before."""
    buffer = np.empty((rows, 2))

    def function(x: Any) -> Any:
        np.multiply(x, 2, out=buffer[: len(x)])
        return buffer[: len(x)]

    return function


@pytest.mark.case(80)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_output_that_is_its_input_is_memory_of_its_own(schedule: str) -> None:
    x = X.copy()
    with microbatch.wrap(lambda x: x, schedule=schedule, num_ubatches=3, policy="fixed") as wrapped:
        result = wrapped(x)
    assert not np.shares_memory(result, x)
    x[:] = -1
    np.testing.assert_array_equal(result, X)


@pytest.mark.case(81)
@pytest.mark.parametrize("schedule", ["sequential", "pingpong"])
@pytest.mark.parametrize("driver", ["threads", "greenlets"])
def test_one_buffer_for_all_results_is_copied_before_the_next_call(schedule: str, driver: str) -> None:
    if driver == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    with microbatch.wrap(
        same_buffer(), schedule=schedule, driver=driver, num_ubatches=3, policy="fixed"
    ) as wrapped:
        np.testing.assert_array_equal(wrapped(X), X * 2)


@pytest.mark.case(81)
@given(threads=st.integers(2, 4), count=st.integers(2, 6), size=st.integers(1, 3))
def test_one_buffer_a_thread_is_copied_too_while_another_makes_the_result(
    threads: int, count: int, size: int
) -> None:
    """A part that waits for the result to be there must not wait in memory that its thread uses again."""
    backend, x = CpuBackend(), np.arange(float(count * size))
    batch = bind(None, (x,), {}, backend=backend)
    made = cut(batch.shape, splitter="even", num_ubatches=count)
    begun, rest_stored = threading.Event(), threading.Event()

    def slowly(shape: tuple[int, ...], like: Any) -> Any:
        begun.set()
        assert rest_stored.wait(30)
        return np.empty(shape, like.dtype)

    gather = Gather(batch, made, backend, Outputs(out=slowly))
    first = threading.Thread(target=lambda: gather.store(0, batch.part(made.slices[0])[0][0] * 2))
    first.start()
    assert begun.wait(30)
    buffer = np.empty(size)
    for index in range(1, count):
        np.multiply(batch.part(made.slices[index])[0][0], 2, out=buffer)
        gather.store(index, buffer)
    rest_stored.set()
    first.join(30)
    np.testing.assert_array_equal(gather.result(), x * 2)


@pytest.mark.case(81)
@pytest.mark.parametrize("buffers", [1, 2])
def test_streamed_refuses_memory_that_is_written_while_it_is_read(buffers: int) -> None:
    functions = [same_buffer() for _ in range(buffers)]
    calls: list[int] = []

    def function(x: Any) -> Any:
        calls.append(len(x))
        return functions[len(calls) % buffers](x)

    with microbatch.wrap(function, schedule="streamed", num_ubatches=3, policy="fixed") as wrapped:
        if buffers == 1:
            with pytest.raises(OutputMismatchError, match="in the memory that ubatch 0 returned"):
                wrapped(X)
        else:  # refused only where the first of them was not read in time
            try:
                np.testing.assert_array_equal(wrapped(X), X * 2)
            except OutputMismatchError as error:
                assert "ubatch 2 is in the memory that ubatch 0 returned" in str(error)


@pytest.mark.case(81)
@pytest.mark.parametrize("order", WORST_ORDERS, ids=lambda order: str(order.starved))
@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_buffer_on_a_device_gives_right_rows_or_an_error(schedule: str, host: bool, order: Any) -> None:
    device = AdversarialBackend(order)
    buffer = device.array(np.zeros((4, 2)))

    def function(x: Any) -> Any:
        buffer[: len(x)] = x * 2
        return buffer[: len(x)]

    with microbatch.wrap(
        function,
        backend=device.name,
        plugins=GivenBackends(device),
        schedule=schedule,
        num_ubatches=3,
        policy="fixed",
        verify="first" if schedule == "parallel" else "never",
    ) as wrapped:
        try:
            result = np.asarray(wrapped(X if host else device.array(X)))
        except OutputMismatchError:
            assert schedule == "streamed"
        except UnprovenError as error:  # two threads write it at the same time: rows would be lost
            assert schedule == "parallel" and "returns the same memory" in str(error)
        else:
            assert schedule != "parallel"
            np.testing.assert_array_equal(result, X * 2)


def total(values: list[Any], weights: list[int]) -> Any:
    return sum(values)


KEPT: dict[str, Any] = {
    "collected": Layout(outputs={"output": collect()}),
    "reduced": Layout(outputs={"output": reduce(total)}),
    "padded": Layout(
        inputs={"0": tokens()}, outputs={"output": tokens(trim=1)}, lengths=lambda args, kwargs: [1, 2] * 6
    ),
}


@pytest.mark.case(81)
@pytest.mark.parametrize("how", KEPT)
def test_what_is_kept_until_the_end_must_not_be_overwritten(run_cut: Run, how: str) -> None:
    splitter = (
        {"splitter": "packed", "limit": 8} if how == "padded" else {"splitter": "even", "num_ubatches": 3}
    )
    with pytest.raises(
        OutputMismatchError, match="output of ubatch 1 is in the memory that ubatch 0 returned"
    ):
        run_cut(same_buffer(12), X, layout=KEPT[how], **splitter)
    fresh = same_buffer(12)
    run_cut(lambda x: fresh(x).copy(), X, layout=KEPT[how], **splitter)


@pytest.mark.case(81)
def test_doubtful_rows_must_not_be_overwritten_either(run_cut: Run) -> None:
    layout, buffer = Layout(inputs={"1": query_start_loc()}), np.empty(2)

    def function(ids: Any, starts: Any) -> Any:
        rows = len(starts) - 1
        buffer[:rows] = np.diff(starts)
        return buffer[:rows]

    with pytest.raises(OutputMismatchError, match="in the memory that ubatch 0 returned"):
        run_cut(
            function,
            np.arange(6.0),
            np.array([0, 1, 2, 6]),
            layout=layout,
            splitter="explicit",
            boundaries=[2],
        )


@pytest.mark.case(81)
@pytest.mark.parametrize("value", [np.float64(1), 3, "text", None, np.array(2.0)], ids=repr)
def test_constants_may_share_memory(run_cut: Run, value: Any) -> None:
    result = run_cut(lambda p: {"x": p, "constant": value}, X, splitter="even", num_ubatches=3)
    assert result["constant"] is value
    table = np.arange(3.0)
    layout = Layout(outputs={"table": replicate(), "parts": collect()})
    result = run_cut(
        lambda p: {"table": table, "parts": np.broadcast_to(table, (2, 3))}, X, layout=layout,
        splitter="even", num_ubatches=3,
    )  # fmt: skip
    np.testing.assert_array_equal(result["parts"], [[table, table]] * 3)


@pytest.mark.case(82)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_result_of_views_does_not_keep_the_batch_alive(schedule: str) -> None:
    class Rows(np.ndarray):
        """An array that can be watched."""

    def one_step(wrapped: Any) -> tuple[Any, weakref.ref[Any]]:
        x = X.copy().view(Rows)
        return wrapped(x), weakref.ref(x)

    with microbatch.wrap(lambda x: x[:, :1], schedule=schedule, num_ubatches=3, policy="fixed") as wrapped:
        result, reference = one_step(wrapped)
        if reference() is not None:  # the last stage of a stream may still be on its way out
            wrapped(X)
            gc.collect()
        assert reference() is None
    np.testing.assert_array_equal(result, X[:, :1])
    assert result.base is None or result.base.nbytes == result.nbytes
