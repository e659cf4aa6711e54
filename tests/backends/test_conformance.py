"""The conformance suite on every backend that runs without an accelerator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from microbatch.extend.records import FailureKind
from microbatch.testing import AdversarialBackend, BackendSuite, MemoryModel, RecordingBackend, WorkOrder
from microbatch.testing.adversarial.order import WORST_ORDERS


class TestCpu(BackendSuite):
    registered_name = "cpu"
    frameworks = ("torch", "cupy")

    def make_backend(self) -> Any:
        from microbatch_backends.host.backend import CpuBackend

        return CpuBackend()


class TestTorchCpu(BackendSuite):
    registered_name = "torch-cpu"
    frameworks = ("torch", "cupy")

    def make_backend(self) -> Any:
        pytest.importorskip("torch", reason="PyTorch is not installed")
        from microbatch_backends.torch_device.backend import TorchCpuBackend

        return TorchCpuBackend()

    def make_array(self, backend: Any, values: np.ndarray) -> Any:
        import torch

        return torch.from_numpy(values.copy())

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array.numpy())


class TestJax(BackendSuite):
    registered_name = "jax"
    frameworks = ("torch", "cupy", "jax")
    dtypes = ("f4", "i4", "f2", "bool")

    def make_backend(self) -> Any:
        pytest.importorskip("jax", reason="JAX is not installed")
        from microbatch_backends.jax_device.backend import JaxBackend

        return JaxBackend()

    def make_array(self, backend: Any, values: np.ndarray) -> Any:
        import jax.numpy as jnp

        return jnp.array(values)

    def run_out_of_memory(self, backend: Any) -> None:
        import jax.numpy as jnp

        jnp.zeros(1 << 50, "u1").block_until_ready()

    def failures(self) -> Any:
        import jax

        text = "RESOURCE_EXHAUSTED: Out of memory allocating 8589934592 bytes."
        return (*super().failures(), (jax.errors.JaxRuntimeError(text), FailureKind.OOM))


ROOM = MemoryModel(capacity=1 << 16)


class TestRecording(BackendSuite):
    def make_backend(self) -> Any:
        return RecordingBackend(ROOM)

    def run_out_of_memory(self, backend: Any) -> None:
        kept: list[Any] = []
        while True:
            kept.append(backend.array(np.zeros(64)))

    def make_array(self, backend: Any, values: np.ndarray) -> Any:
        array = backend.array(values)
        backend.current_stream().synchronize()
        return array

    def to_numpy(self, array: Any) -> np.ndarray:
        return array.view


class TestAdversarial(TestRecording):
    order = WorkOrder()

    def make_backend(self) -> Any:
        return AdversarialBackend(self.order, ROOM)


class TestAdversarialStarvingCompute(TestAdversarial):
    order = WORST_ORDERS[2]


class TestAdversarialOldestFirst(TestAdversarial):
    order = WorkOrder(oldest_first=True)
