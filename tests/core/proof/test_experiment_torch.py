"""Writes that torch does not count, through `.data` and `.numpy()`, are seen all the same."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import microbatch
from microbatch.errors import UnprovenError

pytestmark = pytest.mark.torch
PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 4}


def through_data(x: Any) -> None:
    x.data.sub_(x.data.mean(0))


def through_numpy(x: Any) -> None:
    values = x.numpy()
    values -= values.mean(0)


@pytest.mark.parametrize("function", [through_data, through_numpy])
def test_what_is_written_into_the_rows(function: Any) -> None:
    x = torch.rand(64, 3)
    before = x.clone()
    with microbatch.wrap(function, **PARTS) as wrapped, pytest.raises(UnprovenError, match="writes into"):
        wrapped(x)
    assert torch.equal(x, before)


def test_what_is_written_into_an_argument_that_goes_whole() -> None:
    def function(x: Any, counts: Any) -> Any:
        counts.data.add_(x.sum(0))
        return x * 2

    counts = torch.zeros(3)
    with microbatch.wrap(function, **PARTS) as wrapped, pytest.raises(UnprovenError, match="given whole"):
        wrapped(torch.rand(64, 3), counts)
    assert not counts.any()


def test_a_buffer_is_put_back() -> None:
    class Counts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: Any) -> Any:
            self.calls.data.add_(1)
            return x * 2

    module = Counts().eval()
    with microbatch.wrap(module, **PARTS) as wrapped:
        wrapped(torch.rand(64, 3))
    assert module.calls.item() == 4  # one a part; those of the trial were taken back


def test_a_compiled_function_is_not_taken_for_one_that_swaps_parameters() -> None:
    """What `torch.compile` returns refers to torch's own code, which names `functional_call`."""
    x = torch.arange(64.0).reshape(16, 4)
    compiled = torch.compile(lambda rows: rows.sin() * 2, backend="eager")
    with microbatch.wrap(compiled, policy="fixed", num_ubatches=4, thread_pool_size=2) as wrapped:
        torch.testing.assert_close(wrapped(x), x.sin() * 2)
        assert wrapped.last_report is not None and wrapped.last_report.schedule == "parallel"


def test_a_function_that_swaps_parameters_is_known_by_any_name() -> None:
    """Two such calls at the same time put each other's parameters into the module."""
    module, swap = torch.nn.Linear(4, 4).eval(), torch.func.functional_call
    parameters = {name: value.detach() * 3 for name, value in module.named_parameters()}
    x = torch.arange(64.0).reshape(16, 4)
    for function in (lambda rows: swap(module, parameters, (rows,)), partial(swap, module, parameters)):
        with microbatch.wrap(function, policy="fixed", num_ubatches=4, thread_pool_size=2) as wrapped:
            torch.testing.assert_close(wrapped(x), function(x))
            assert wrapped.last_report is not None and wrapped.last_report.schedule == "sequential"


@pytest.mark.parametrize("made", [lambda f: torch.compile(f, backend="eager"), torch.func.vmap])
def test_what_a_function_keeps_is_seen_through_what_torch_makes_of_it(made: Any) -> None:
    """What the compiler keeps for itself is passed over, and nothing of the user's."""
    seen: list[Any] = [0]

    def function(x: Any) -> Any:
        seen[0] += 1
        return x * 2

    with microbatch.wrap(made(function), **PARTS) as wrapped:
        wrapped(torch.rand(64, 3))
    assert seen == [4]  # one a part; those of the trial were taken back
