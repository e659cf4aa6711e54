"""Tensors on Intel GPUs: the device backend on `torch.xpu`.

Invariant: the same code as for NVIDIA's, on another device module. What `torch.xpu` of a version lacks (graphs) fails
when it is captured, and the step then runs as it is, with the reason in the report. Taking more memory than there is may
lose the device, so memory is never tried out here, only predicted.
"""

from __future__ import annotations

from microbatch_backends.torch_device.cuda import TorchCudaBackend
from microbatch_backends.torch_device.device_module import DeviceModule

__all__ = ["TorchXpuBackend"]


class TorchXpuBackend(TorchCudaBackend):
    """The `torch-xpu` backend."""

    def __init__(self) -> None:
        super().__init__(DeviceModule("xpu"))
