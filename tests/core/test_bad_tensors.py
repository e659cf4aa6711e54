"""Tensors that cannot be cut, and gradients: refused by name at the front door, and the next valid call
works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch")

import microbatch
from microbatch.errors import ArgumentValueError, LayoutError
from tests.refusing import refused

FIXED: dict[str, Any] = {"num_ubatches": 4, "policy": "fixed", "schedule": "parallel"}
X = torch.ones(8, 2)


class Elsewhere:
    """An array of another framework, on a device of its own."""

    shape = (8,)
    dtype = "float32"
    device = "elsewhere:0"


def quantised() -> Any:
    return torch.quantize_per_tensor(X, 0.1, 0, torch.qint8)


def unequal() -> Any:
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, about what it deprecates
@pytest.mark.parametrize(
    ("make", "told"),
    [
        pytest.param(
            lambda: (X.to_sparse(),), ("ids cannot be cut", "sparse"), marks=pytest.mark.bad_input(41)
        ),
        pytest.param(
            lambda: (X, X.to_sparse()), ("mask cannot be cut", ".to_dense()"), marks=pytest.mark.bad_input(41)
        ),
        pytest.param(
            lambda: (quantised(),), ("ids cannot be cut", ".dequantize()"), marks=pytest.mark.bad_input(41)
        ),
        pytest.param(
            lambda: (unequal(),), ("ids cannot be cut", "nested", "padded"), marks=pytest.mark.bad_input(41)
        ),
        pytest.param(
            lambda: (X, unequal()), ("mask cannot be cut", "nested"), marks=pytest.mark.bad_input(41)
        ),
        pytest.param(
            lambda: (X, X.to("meta")),
            ("mask is a torch array on meta", "ids is a torch array on cpu"),
            marks=pytest.mark.bad_input(45),
        ),
        pytest.param(
            lambda: (X, Elsewhere()),
            ("mask is a", "elsewhere:0", "ids is a torch array on cpu"),
            marks=pytest.mark.bad_input(46),
        ),
    ],
)
def test_tensors(make: Callable[[], tuple[Any, ...]], told: tuple[str, ...]) -> None:
    def step(ids: Any, mask: Any = None) -> Any:
        return ids * 2

    with microbatch.wrap(step, **FIXED) as wrapped:
        refused(lambda: wrapped(*make()), LayoutError, told, lambda: wrapped(X))


@pytest.mark.bad_input(47)
def test_gradients_are_those_of_the_plain_call_and_out_cannot_take_them() -> None:
    x = torch.arange(8.0, requires_grad=True)
    with microbatch.wrap(lambda part: part**2, **{**FIXED, "schedule": "sequential"}) as wrapped:

        def good() -> None:
            wrapped(x).sum().backward()
            assert x.grad.tolist() == [2 * row for row in range(8)]

        refused(
            lambda: wrapped(x, out=torch.zeros(8)), ArgumentValueError, ("autograd records output",), good
        )


@pytest.mark.counted
@pytest.mark.bad_input(42)
@pytest.mark.parametrize("count", [8, 4])
def test_expanded_rows_that_are_written(count: int) -> None:
    """In parts of one row torch lets it pass, and the rows would count up; in larger ones torch refuses."""
    with microbatch.wrap(
        lambda ids: ids.add_(1), **{**FIXED, "num_ubatches": count, "schedule": "sequential"}
    ) as wrapped:
        if count == 8:
            with pytest.warns(
                UserWarning,
                match=r"ids has rows that are one and the same memory, and the function writes into it",
            ):
                wrapped(torch.zeros(1, 2).expand(8, 2))
        else:
            with pytest.raises(RuntimeError, match="single memory location"):
                wrapped(torch.zeros(1, 2).expand(8, 2))
        assert torch.equal(wrapped(torch.zeros(8, 2)), torch.ones(8, 2))


@pytest.mark.bad_input(42)
@pytest.mark.parametrize("inference", [False, True])
def test_expanded_rows_that_are_read(inference: bool) -> None:
    with torch.inference_mode(inference), microbatch.wrap(lambda ids: ids + 1, **FIXED) as wrapped:
        assert torch.equal(wrapped(torch.zeros(1, 2).expand(8, 2)), torch.ones(8, 2))
