"""Rows of tensors are written outside autograd and never converted; what autograd records is joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the torch backends need PyTorch")

from microbatch.errors import ArgumentTypeError
from microbatch.extend.abilities import (
    SupportsGraphs,
    SupportsProbe,
    SupportsRanks,
    SupportsTransfer,
    SupportsYieldCheck,
)
from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind
from microbatch_backends.torch_device.arrays import LARGE
from microbatch_backends.torch_device.backend import TorchCpuBackend

CPU = TorchCpuBackend()
DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int8,
    torch.int64,
    torch.bool,
    torch.complex64,
    torch.uint8,
]
shapes = st.lists(st.integers(0, 4), min_size=1, max_size=3)
tensors = st.builds(
    lambda shape, dtype, seed: torch.from_numpy(np.random.default_rng(seed).integers(0, 9, shape)).to(dtype),
    shapes,
    st.sampled_from(DTYPES),
    st.integers(0, 99),
)


@given(tensor=tensors, data=st.data())
def test_rows_written_in_parts_are_the_tensor(tensor: Any, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, tensor.dim() - 1))
    cut = data.draw(st.integers(0, tensor.shape[axis]))
    result = CPU.empty(tensor.shape, tensor)
    for start, stop in ((0, cut), (cut, tensor.shape[axis])):
        CPU.copy(result.narrow(axis, start, stop - start), tensor.narrow(axis, start, stop - start))
    assert result.dtype is tensor.dtype and torch.equal(result, tensor)
    parts = [tensor.narrow(axis, 0, cut), tensor.narrow(axis, cut, tensor.shape[axis] - cut)]
    assert torch.equal(CPU.concatenate(parts, axis), tensor)


@given(tensor=tensors, data=st.data())
def test_scatter_undoes_take(tensor: Any, data: st.DataObject) -> None:
    axis = data.draw(st.integers(0, tensor.dim() - 1))
    order = data.draw(st.permutations(range(tensor.shape[axis])))
    frozen = np.array(order, dtype=np.int64)
    frozen.setflags(write=False)
    result = CPU.empty(tensor.shape, tensor)
    CPU.scatter(result, order, CPU.take(tensor, frozen, axis), axis)
    assert torch.equal(result, tensor)


def test_take_and_concatenate_are_seen_by_autograd() -> None:
    x = torch.arange(4.0, requires_grad=True)
    CPU.concatenate([CPU.take(x, [3, 1], 0), x[:1] * 2], 0).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [2, 1, 0, 1]


@pytest.mark.parametrize("write", ["copy", "scatter"])
def test_a_write_is_not_seen_by_autograd(write: str) -> None:
    x, result = torch.ones(3, requires_grad=True), torch.zeros(3)
    if write == "copy":
        CPU.copy(result, x * 2)
    else:
        CPU.scatter(result, [2, 1, 0], x * 2, 0)
    assert result.tolist() == [2, 2, 2] and not result.requires_grad and torch.is_grad_enabled()


@pytest.mark.parametrize("written_in_inference", [True, False])
def test_inference_tensors_can_be_written_in_any_mode(written_in_inference: bool) -> None:
    with torch.inference_mode():
        result, source = CPU.empty((3,), torch.ones(3)), torch.ones(3)
    with torch.inference_mode(written_in_inference):
        CPU.copy(result, source)
        CPU.scatter(result, [0], torch.zeros(1), 0)
        plain = torch.zeros(3)
        CPU.copy(plain, source)
    assert result.tolist() == [0, 1, 1] and plain.tolist() == [1, 1, 1]


def test_a_copy_never_converts() -> None:
    result = torch.zeros(3)
    with pytest.raises(ArgumentTypeError, match=r"from torch.float64 to torch.float32"):
        CPU.copy(result, torch.ones(3, dtype=torch.float64))
    assert result.tolist() == [0, 0, 0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_large_result_is_like_a_small_one(dtype: Any) -> None:
    like = torch.zeros(2, 3, dtype=dtype)
    rows = LARGE // like.element_size()
    result = CPU.empty((rows, 3), like)
    assert result.shape == (rows, 3) and result.dtype is dtype and result.is_contiguous()
    result[:2] = like
    assert torch.equal(result[:2], like)


def test_channels_last_and_subclasses_are_kept() -> None:
    last = torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert CPU.empty((6, 3, 4, 5), last).is_contiguous(memory_format=torch.channels_last)
    assert CPU.empty((600, 64, 8, 64), last).is_contiguous(memory_format=torch.channels_last)

    class Tagged(torch.Tensor):
        pass

    assert type(CPU.empty((4,), torch.zeros(2).as_subclass(Tagged))) is Tagged
    assert type(CPU.empty((4,), torch.nn.Parameter(torch.zeros(2)))) is torch.Tensor


def test_differentiable_follows_the_modes() -> None:
    x, y = torch.ones(3, requires_grad=True), torch.ones(3)
    assert CPU.differentiable([y, x]) and not CPU.differentiable([y]) and not CPU.differentiable([])
    with torch.no_grad():
        assert not CPU.differentiable([x])
    with torch.autograd.forward_ad.dual_level():
        assert CPU.differentiable([y])
    seen: list[bool] = []
    torch.func.vmap(lambda row: seen.append(CPU.differentiable([row])) or row)(y)
    assert seen == [True]


def test_what_has_no_rows_to_cut_is_refused_with_a_remedy() -> None:
    eye = torch.eye(3)
    assert CPU.unsupported(eye) is None
    assert "to_dense" in str(CPU.unsupported(eye.to_sparse()))
    assert "padded" in str(CPU.unsupported(torch.nested.nested_tensor([eye, eye[:2]], layout=torch.jagged)))


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors_are_refused() -> None:
    quantised = torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)
    assert "dequantize" in str(CPU.unsupported(quantised))


def test_ownership_is_by_device() -> None:
    assert CPU.owns(torch.ones(1)) and CPU.owns(torch.nn.Parameter(torch.ones(1)))
    assert not CPU.owns(torch.ones(1, device="meta"))
    assert not CPU.owns(np.ones(1)) and not CPU.owns(3)


def test_protocols() -> None:
    assert isinstance(CPU, Backend) and isinstance(CPU, SupportsYieldCheck)
    assert isinstance(CPU, SupportsRanks) and CPU.ranks(None) is None
    assert not isinstance(CPU, SupportsGraphs | SupportsTransfer | SupportsProbe)


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda: torch.empty(1 << 50, dtype=torch.uint8), FailureKind.OOM),
        (lambda: torch.empty(1 << 62, 1 << 62), FailureKind.SIZE),
        (lambda: torch.ones(2) + torch.ones(3), FailureKind.OTHER),
    ],
)
def test_what_torch_itself_raises_is_classified(ask: Any, kind: FailureKind) -> None:
    with pytest.raises(RuntimeError) as caught:
        ask()
    assert CPU.classify(caught.value) is kind


def test_streams_run_with_the_callers_modes() -> None:
    seen: list[bool] = []
    with torch.inference_mode():
        CPU.stream("compute").submit(lambda: seen.append(torch.is_inference_mode_enabled()))
    CPU.stream("compute").submit(lambda: seen.append(torch.is_inference_mode_enabled()))
    assert CPU.stream("compute").synchronize(20) and seen == [True, False]
    CPU.close(20)
