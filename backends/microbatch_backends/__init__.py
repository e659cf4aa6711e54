"""The backends, containers and types with rows that come with microbatch, announced by hook.

Invariant: no array framework is loaded by importing this package, listing backends or probing them. The
module that a record names in `load` does that, when its backend is first used.
"""

from __future__ import annotations

from collections.abc import Sequence

from microbatch.extend.hookspecs import hookimpl
from microbatch.extend.records import BackendInfo, ContainerInfo, RowsInfo
from microbatch_backends.probes import probe_cuda, probe_cupy, probe_jax, probe_numpy, probe_torch, probe_xpu
from microbatch_backends.rows.announced import CONTAINERS, ROWS

__all__ = ["microbatch_register_backends", "microbatch_register_containers", "microbatch_register_rows"]


@hookimpl
def microbatch_register_backends() -> Sequence[BackendInfo]:
    """Announce `cpu`, `torch-cpu`, `torch-cuda`, `torch-xpu`, `cupy` and `jax`."""
    return (
        BackendInfo(
            name="cpu",
            load="microbatch_backends.host.backend:CpuBackend",
            probe=probe_numpy,
            priority=0,
            modules=("numpy",),
            install="pip install microbatch",
            summary="NumPy, and anything with shape, dtype and slices on the host",
        ),
        BackendInfo(
            name="torch-cpu",
            load="microbatch_backends.torch_device.backend:TorchCpuBackend",
            probe=probe_torch,
            priority=10,
            modules=("torch",),
            operations="microbatch_backends.torch_device.operations",
            install="pip install microbatch[torch]",
            summary="PyTorch tensors on the CPU",
        ),
        BackendInfo(
            name="torch-cuda",
            load="microbatch_backends.torch_device.cuda:TorchCudaBackend",
            probe=probe_cuda,
            priority=20,
            modules=("torch",),
            operations="microbatch_backends.torch_device.operations",
            install="install a PyTorch build with CUDA (pytorch.org) on a machine with an NVIDIA driver",
            summary="PyTorch tensors on NVIDIA devices: streams, events, graphs, pinned copies",
        ),
        BackendInfo(
            name="torch-xpu",
            load="microbatch_backends.torch_device.cuda:TorchXpuBackend",
            probe=probe_xpu,
            priority=20,
            modules=("torch",),
            operations="microbatch_backends.torch_device.operations",
            install="install a PyTorch build for XPU (pytorch.org)"
            " on a machine with an Intel GPU and its driver",
            summary="PyTorch tensors on Intel GPUs: streams, events, pinned copies",
        ),
        BackendInfo(
            name="cupy",
            load="microbatch_backends.cupy_device.backend:CupyBackend",
            probe=probe_cupy,
            priority=15,
            modules=("cupy",),
            install="pip install microbatch[cupy] on a machine with an NVIDIA driver",
            summary="CuPy arrays on NVIDIA devices: streams, events, graphs, pinned copies",
        ),
        BackendInfo(
            name="jax",
            load="microbatch_backends.jax_device.backend:JaxBackend",
            probe=probe_jax,
            priority=12,
            modules=("jax", "jaxlib"),
            install="pip install microbatch[jax]",
            summary="JAX arrays on any device of JAX: parts are waited for and joined",
        ),
    )


@hookimpl
def microbatch_register_rows() -> Sequence[RowsInfo]:
    """Announce tables and columns, labelled arrays and sparse matrices."""
    return ROWS


@hookimpl
def microbatch_register_containers() -> Sequence[ContainerInfo]:
    """Announce torch's distributions and the caches of decoders."""
    return CONTAINERS
