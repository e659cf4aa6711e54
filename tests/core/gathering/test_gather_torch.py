"""Tensors: gradients flow through a cut step as through the plain call, and `out` may be a NumPy file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from microbatch.binding.rules import Layout, query_start_loc, reduce, seq_lens, tokens
from microbatch.errors import ArgumentValueError, LayoutError, OutputMismatchError
from microbatch_backends.torch_device.backend import TorchCpuBackend
from tests.support.binding import bind

pytestmark = pytest.mark.torch
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def tensors() -> Any:
    return TorchCpuBackend()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool", "complex64"])
def test_tensors_come_back_as_they_were(run_cut: Run, tensors: Any, dtype: str) -> None:
    x = torch.arange(30).reshape(10, 3).to(getattr(torch, dtype))
    result = run_cut(lambda part: part.clone(), x, on=tensors, splitter="even", num_ubatches=3)
    assert result.dtype == x.dtype
    assert torch.equal(result, x)


@pytest.mark.bad_input(47)
@pytest.mark.parametrize("packed", [False, True])
def test_gradients_equal_the_plain_calls(run_cut: Run, tensors: Any, packed: bool) -> None:
    lengths = [3, 1, 4, 2, 4]
    weight = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    scale = torch.arange(1.0, 6.0, dtype=torch.float64)[:, None]

    def function(part: Any) -> Any:
        return torch.tanh(part @ weight)

    layout = Layout(lengths=lambda args, kwargs: lengths) if packed else None
    splitter = "packed" if packed else "even"
    result = run_cut(function, x, layout=layout, on=tensors, splitter=splitter, num_ubatches=3)
    (result * scale).sum().backward()
    found = x.grad.clone(), weight.grad.clone()
    x.grad = weight.grad = None
    plain = function(x)
    (plain * scale).sum().backward()
    torch.testing.assert_close(result, plain)
    torch.testing.assert_close(found, (x.grad, weight.grad))


@pytest.mark.parametrize("recorded", [[0], [1], [0, 2], [1, 2]], ids=str)
def test_gradients_flow_where_only_some_parts_are_recorded(
    run_cut: Run, tensors: Any, recorded: list[int]
) -> None:
    x = torch.ones(6, requires_grad=True)
    calls = iter(range(3))

    def function(part: Any) -> Any:
        return part * 2 if next(calls) in recorded else part.detach() * 2

    result = run_cut(function, x, on=tensors, splitter="even", num_ubatches=3)
    result.sum().backward()
    expected = [2.0 if index // 2 in recorded else 0.0 for index in range(6)]
    assert x.grad.tolist() == expected


def test_a_trimmed_output_is_padded_where_autograd_records(run_cut: Run, tensors: Any) -> None:
    x = torch.ones(4, 5, requires_grad=True)
    layout = Layout(
        inputs={"0": tokens(trim=1)},
        outputs={"output": tokens(trim=1)},
        lengths=lambda args, kwargs: [1, 5, 2, 3],
    )
    result = run_cut(lambda part: part * 3, x, layout=layout, on=tensors, splitter="packed", limit=5)
    assert result.shape == x.shape
    result.sum().backward()
    assert x.grad.sum(1).tolist() == [6, 15, 6, 9]  # rows 0 and 2 share a part of width 2


def test_a_numpy_array_takes_the_rows_of_tensors(run_cut: Run, tensors: Any) -> None:
    out = np.zeros((4, 2), "f4")
    x = torch.arange(8.0).reshape(4, 2)
    with torch.no_grad():
        result = run_cut(lambda part: part * 2, x, on=tensors, out=out, splitter="even", num_ubatches=2)
        assert result is out
        np.testing.assert_array_equal(out, x.numpy() * 2)
        layout = Layout(lengths=lambda args, kwargs: [1, 3, 2, 4])
        run_cut(
            lambda part: part * 3, x, layout=layout, on=tensors, out=out, splitter="packed", num_ubatches=3
        )
    np.testing.assert_array_equal(out, x.numpy() * 3)


@pytest.mark.bad_input(47)
def test_out_and_autograd_exclude_each_other(run_cut: Run, tensors: Any) -> None:
    x = torch.ones(4, requires_grad=True)
    with pytest.raises(ArgumentValueError, match="autograd records output"):
        run_cut(lambda part: part * 2, x, on=tensors, out=torch.zeros(4), splitter="even", num_ubatches=2)


def test_requests_of_tensors(tensors: Any) -> None:
    from microbatch.cutting.slices import UBatchSlice

    layout = Layout(inputs={"0": query_start_loc(), "1": seq_lens()})
    starts, lens = torch.tensor([0, 2, 10], dtype=torch.int32), torch.tensor([20, 32])
    batch = bind(layout, (starts, lens), {"ids": torch.arange(10)}, backend=tensors)
    (moved, shortened), kwargs = batch.part(UBatchSlice.from_range(0, 6, 0, 2))
    assert moved.tolist() == [0, 2, 6]
    assert moved.dtype == torch.int32
    assert shortened.tolist() == [20, 28]
    assert lens.tolist() == [20, 32]
    assert kwargs["ids"].data_ptr() == batch.part(UBatchSlice.from_range(0, 10, 0, 2))[1]["ids"].data_ptr()


def test_numpy_rows_next_to_tensors_and_tensors_of_another_device(tensors: Any) -> None:
    bind(None, (torch.zeros(3), np.zeros(3)), {}, backend=tensors)
    with pytest.raises(LayoutError, match=r"on meta but args\[0\] is a torch array on cpu"):
        bind(None, (torch.zeros(3), torch.zeros(3, device="meta")), {}, backend=tensors)


@pytest.mark.bad_input(41)
def test_sparse_tensors_are_refused(tensors: Any) -> None:
    with pytest.raises(LayoutError, match="cannot be cut by rows"):
        bind(None, (torch.eye(3).to_sparse(),), {}, backend=tensors)


@pytest.mark.bad_input(58)
def test_an_output_on_another_device_is_named(run_cut: Run, tensors: Any) -> None:
    devices = iter(["cpu", "meta"])
    with pytest.raises(OutputMismatchError, match="on meta in ubatch 1 but on cpu in ubatch 0"):
        run_cut(
            lambda part: part.to(next(devices)), torch.zeros(4), on=tensors, splitter="even", num_ubatches=2
        )


@pytest.mark.case(72)
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("pair", [("int64", "float16"), ("float32", "float64"), ("bfloat16", "float16")])
def test_two_dtypes_are_an_error_and_no_promotion(
    run_cut: Run, tensors: Any, pair: tuple[str, str], recorded: bool
) -> None:
    """torch.cat would make float16 of int64 and float16."""
    dtypes = iter(pair)

    def function(part: Any) -> Any:
        made = part.to(getattr(torch, next(dtypes)))
        return made.requires_grad_() if recorded and made.is_floating_point() else made

    with pytest.raises(OutputMismatchError, match=pair[1]):
        run_cut(function, torch.ones(4, 2), on=tensors, splitter="even", num_ubatches=2)


@pytest.mark.case(73)
@pytest.mark.parametrize("recorded", [False, True])
def test_an_empty_vector_beside_a_matrix_is_an_error(run_cut: Run, tensors: Any, recorded: bool) -> None:
    parts = iter([torch.ones(2, 3, requires_grad=recorded), torch.ones(0, requires_grad=recorded)])
    with pytest.raises(OutputMismatchError, match="0 rows"):
        run_cut(lambda part: next(parts), torch.ones(4), on=tensors, splitter="even", num_ubatches=2)


@pytest.mark.case(81)
def test_memory_written_again_is_refused_where_autograd_keeps_the_parts(run_cut: Run, tensors: Any) -> None:
    buffer = torch.zeros(2, 2, requires_grad=True)

    def overwriting(part: Any) -> Any:
        with torch.no_grad():
            buffer.copy_(part)
        return buffer

    x = torch.arange(12.0).reshape(6, 2)
    with pytest.raises(
        OutputMismatchError, match="output of ubatch 1 is in the memory that ubatch 0 returned"
    ):
        run_cut(overwriting, x, on=tensors, splitter="even", num_ubatches=3)
    with torch.no_grad():
        assert torch.equal(run_cut(overwriting, x, on=tensors, splitter="even", num_ubatches=3), x)


@pytest.mark.case(81)
def test_memory_that_nobody_wrote_may_be_returned_every_time(run_cut: Run, tensors: Any) -> None:
    bias = torch.ones(3, requires_grad=True)
    result = run_cut(
        lambda part: bias.expand(len(part), 3), torch.zeros(6, 2), on=tensors, splitter="even", num_ubatches=3
    )
    result.sum().backward()
    assert bias.grad.tolist() == [6.0] * 3
    zero = torch.zeros(())
    layout = Layout(outputs={"loss": reduce(lambda values, weights: sum(values))})
    made = run_cut(
        lambda part: {"x": part, "loss": zero}, torch.zeros(6, 2), layout=layout, on=tensors, splitter="even",
        num_ubatches=3,
    )  # fmt: skip
    assert made["loss"] == 0


@pytest.mark.case(75, 81)
def test_a_constant_that_was_written_between_the_calls_is_refused(run_cut: Run, tensors: Any) -> None:
    step = torch.zeros(())

    def counting(part: Any) -> Any:
        return {"x": part, "step": step.add_(1)}

    with pytest.raises(OutputMismatchError, match=r"output\['step'\] of ubatch 1"):
        run_cut(counting, torch.zeros(6, 2), on=tensors, splitter="even", num_ubatches=3)


class Metres(torch.Tensor):
    """A tensor with a unit."""


@pytest.mark.case(84)
@pytest.mark.parametrize("recorded", [False, True])
def test_tensor_subclasses_survive_and_are_not_mixed(run_cut: Run, tensors: Any, recorded: bool) -> None:
    x = torch.arange(12.0).reshape(6, 2).requires_grad_(recorded)
    result = run_cut(
        lambda part: part.as_subclass(Metres) * 2, x, on=tensors, splitter="even", num_ubatches=3
    )
    assert type(result) is Metres
    assert torch.equal(result.detach().as_subclass(torch.Tensor), x.detach() * 2)
    kinds = iter([Metres, torch.Tensor])
    with pytest.raises(OutputMismatchError, match="a Tensor in ubatch 1 but a Metres in ubatch 0"):
        run_cut(lambda part: part.as_subclass(next(kinds)), x, on=tensors, splitter="even", num_ubatches=2)
