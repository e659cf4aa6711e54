"""The conformance suite on a device; skipped with a sentence where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microbatch.testing import BackendSuite


@pytest.mark.torch
@pytest.mark.usefixtures("cuda")
class TestTorchCuda(BackendSuite):
    registered_name = "torch-cuda"
    frameworks = ("torch", "cupy")

    def make_backend(self) -> Any:
        pytest.importorskip("torch", reason="PyTorch is not installed")
        from microbatch_backends.torch_device.cuda import TorchCudaBackend

        return TorchCudaBackend()

    def make_array(self, backend: Any, values: np.ndarray) -> Any:
        import torch

        array = torch.from_numpy(values.copy()).cuda()
        torch.cuda.synchronize()
        return array

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array.cpu().numpy())

    def host_array(self, values: np.ndarray, like: object) -> object:
        import torch

        return torch.from_numpy(values.copy())

    def run_out_of_memory(self, backend: Any) -> None:
        import torch

        kept: list[Any] = []
        torch.cuda.set_per_process_memory_fraction(0.02)
        try:
            while True:
                kept.append(torch.empty(1 << 26, device="cuda"))
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.usefixtures("cupy")
class TestCupy(BackendSuite):
    registered_name = "cupy"
    frameworks = ("torch", "cupy")

    def make_backend(self) -> Any:
        from microbatch_backends.cupy_device.backend import CupyBackend

        return CupyBackend()

    def make_array(self, backend: Any, values: np.ndarray) -> Any:
        import cupy

        array = cupy.asarray(values)
        cupy.cuda.get_current_stream().synchronize()
        return array

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array.get())

    def run_out_of_memory(self, backend: Any) -> None:
        import cupy

        kept: list[Any] = []
        pool = cupy.get_default_memory_pool()
        before = pool.get_limit()
        pool.set_limit(size=pool.used_bytes() + (1 << 28))
        try:
            while True:
                kept.append(cupy.empty(1 << 24, "f4"))
        finally:
            pool.set_limit(size=before)
