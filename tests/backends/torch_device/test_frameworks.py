"""Results are made by the framework of the output, whatever the inputs are of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.loading.plugins import Plugins
from microbatch_backends.host.backend import CpuBackend

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

X = np.arange(60.0).reshape(20, 3)
T = torch.from_numpy(X)
TEXTS = [f"text {number}" * (number % 4) for number in range(20)]

ones = torch.ones
CALLS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "NumPy to torch": (lambda x: torch.from_numpy(x * 2), (X,)),
    "torch to NumPy": (lambda x: x.numpy() * 2, (T,)),
    "texts to torch": (lambda texts: torch.tensor([[float(len(text))] * 3 for text in texts]), (TEXTS,)),
    "texts to both": (
        lambda texts: {"n": np.array([*map(len, texts)]), "t": torch.ones(len(texts))},
        (TEXTS,),
    ),
    "NumPy and torch": (lambda x, t: x + t.numpy(), (X, T)),
    "torch and NumPy": (lambda t, x: t + torch.from_numpy(x), (T, X)),
    "NumPy, torch and texts": (
        lambda x, t, texts: (t * 2, x.sum(1), [text.upper() for text in texts]),
        (X, T, TEXTS),
    ),
    "half precision": (lambda x: torch.from_numpy(x).bfloat16(), (X,)),
}


def same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype
        torch.testing.assert_close(first, second)
    elif isinstance(first, dict):
        for key in first:
            same(first[key], second[key])
    elif isinstance(first, tuple):
        for one, other in zip(first, second, strict=True):
            same(one, other)
    else:
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("schedule", ["sequential", "parallel", "streamed"])
@pytest.mark.parametrize("call", CALLS)
def test_the_result_is_the_plain_calls(call: str, schedule: str) -> None:
    function, given = CALLS[call]
    with microbatch.wrap(function, policy="fixed", num_ubatches=3, schedule=schedule) as wrapped:
        same(wrapped(*given), function(*given))
        assert wrapped.last_report is not None and wrapped.last_report.sizes == (7, 7, 6)


@pytest.mark.parametrize("call", CALLS)
def test_it_is_after_memory_ran_out(call: str) -> None:
    function, given = CALLS[call]

    def narrow(*inputs: Any) -> Any:
        if len(inputs[0]) > 8:
            raise MemoryError("too many rows")
        return function(*inputs)

    with microbatch.wrap(narrow) as wrapped:
        same(wrapped(*given), function(*given))
        assert wrapped.last_report is not None and wrapped.last_report.oom_sizes


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("schedule", ["sequential", "parallel"])
def test_gradients_are_recorded_as_the_caller_asks(on: bool, schedule: str) -> None:
    """Torch keeps that for each thread; a step of NumPy arrays carries it to its workers too."""
    weight = torch.ones(3, dtype=torch.float64, requires_grad=True)
    function = lambda x: torch.from_numpy(x) * weight
    with (
        microbatch.wrap(function, policy="fixed", num_ubatches=3, schedule=schedule) as wrapped,
        torch.set_grad_enabled(on),
    ):
        result = wrapped(X)
        assert result.requires_grad is on
        if on:
            (slope,) = torch.autograd.grad(result.sum(), weight)
            np.testing.assert_array_equal(slope, X.sum(0))


def test_rows_that_are_packed_in_another_order_come_back_in_theirs() -> None:
    lengths = np.arange(20) % 7 + 1
    layout = microbatch.Layout(lengths=lambda args, kwargs: lengths)
    function = lambda x, t: (torch.from_numpy(x) * 2, t.numpy() * 3)
    with microbatch.wrap(
        function, layout=layout, splitter="packed", policy="fixed", num_ubatches=3
    ) as wrapped:
        same(wrapped(X, T), function(X, T))


class Far:
    """An array on a device."""

    device = "far:0"

    def __init__(self, values: Any) -> None:
        self.values = values
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, where: Any) -> Far:
        return Far(self.values[where])


class FarBackend(CpuBackend):
    """A backend of that device, which has queues of its own."""

    name = "far"
    asynchronous = True
    owns = staticmethod(lambda array: isinstance(array, Far))


class FarPlugin:
    """Announces it."""

    @staticmethod
    @microbatch.hookimpl
    def microbatch_register_backends() -> list[microbatch.BackendInfo]:
        top = __name__.partition(".")[0]
        return [
            microbatch.BackendInfo(
                name="far", load=f"{__name__}:FarBackend", probe=lambda: None, priority=50, modules=(top,)
            )
        ]


def test_an_output_on_a_device_that_the_step_does_not_wait_for_is_refused() -> None:
    """Its inputs are on the host, so the step runs there: told before the second part, with what to do."""
    parts = []

    def function(x: Any) -> Any:
        parts.append(len(x))
        return Far(x * 2)

    options: dict[str, Any] = {"policy": "fixed", "num_ubatches": 3, "schedule": "sequential"}
    plugins = Plugins(extra=[FarPlugin()])
    with (
        microbatch.wrap(function, plugins=plugins, verify="never", **options) as wrapped,
        pytest.raises(microbatch.errors.OutputMismatchError, match="array on far:0, and the step runs"),
    ):
        wrapped(X)
    assert parts == [7]
    with (
        microbatch.wrap(function, plugins=plugins, **options) as wrapped,
        pytest.raises(microbatch.errors.UnprovenError, match="pass the inputs on the device of the output"),
    ):
        wrapped(X)
