"""The names and signatures the `cupy` backend uses, asked of the installed package; needs no device."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from microbatch.errors import BackendUnavailableError
from microbatch.testing import cupy_device
from microbatch_backends.cupy_device.backend import CupyBackend
from microbatch_backends.cupy_simulated import cuda, functions, memory, streams
from microbatch_backends.cupy_simulated.array import ndarray

cupy = pytest.importorskip("cupy", reason="CuPy is not installed; `tox -e cupy-contract` installs it")

OURS = {"told", "data_ptr", "fetch"}
"""Names that all our simulated devices share."""

CALLS: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
    ("cuda.Stream.__init__", (None,), {"non_blocking": True, "priority": -1}),
    ("cuda.Stream.use", (None,), {}),
    ("cuda.Stream.wait_event", (None, None), {}),
    ("cuda.Stream.synchronize", (None,), {}),
    ("cuda.Stream.begin_capture", (None,), {"mode": 1}),
    ("cuda.Stream.end_capture", (None,), {}),
    ("cuda.Event.__init__", (None,), {"disable_timing": True}),
    ("cuda.Event.record", (None, None), {}),
    ("cuda.Event.synchronize", (None,), {}),
    ("cuda.using_allocator", (None,), {}),
    ("concatenate", ([],), {"axis": 0}),
    ("take", (None, None), {"axis": 0}),
    ("empty", ((1,),), {"dtype": "f4", "order": "C"}),
    ("asarray", (None,), {}),
    ("ascontiguousarray", (None,), {}),
    ("copyto", (None, None), {}),
)

NAMES = (
    "cuda.Event.done",
    "cuda.Device.use",
    "cuda.Graph.launch",
    "cuda.MemoryPool.malloc",
    "cuda.MemoryPool.used_bytes",
    "cuda.MemoryPool.total_bytes",
    "cuda.MemoryPool.get_limit",
    "cuda.MemoryPool.free_all_blocks",
    "cuda.get_current_stream",
    "cuda.get_allocator",
    "cuda.alloc_pinned_memory",
    "cuda.runtime.deviceGetAttribute",
    "cuda.runtime.getDevice",
    "cuda.runtime.getDeviceProperties",
    "cuda.runtime.memGetInfo",
    "cuda.runtime.pointerGetAttributes",
    "cuda.runtime.streamCaptureModeThreadLocal",
    "cuda.nvtx.RangePush",
    "cuda.nvtx.RangePop",
    "cuda.get_elapsed_time",
)


def find(path: str) -> Any:
    found = cupy
    for name in path.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(("path", "args", "kwargs"), CALLS, ids=[call[0] for call in CALLS])
def test_signature(path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    inspect.signature(find(path)).bind(*args, **kwargs)


@pytest.mark.parametrize("path", NAMES)
def test_name(path: str) -> None:
    assert find(path) is not None


def public(kind: object) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("path", "stands_in"),
    [
        ("ndarray", ndarray),
        ("cuda", cuda.Cuda),
        ("cuda.runtime", cuda.Runtime),
        ("cuda.Device", cuda.Device),
        ("cuda.Stream", streams.Stream),
        ("cuda.Event", streams.Event),
        ("cuda.Graph", streams.Graph),
        ("cuda.MemoryPool", memory.MemoryPool),
        ("", functions.Cupy),
    ],
)
def test_the_stand_in_has_no_name_that_cupy_lacks(path: str, stands_in: type) -> None:
    """Else code would run on `cupy_device()` and not on a device."""
    found = [find(path) if path else cupy]
    if path == "cuda.Stream":
        found.append(cupy.cuda.Stream.null)  # some are of each stream
    names = public(stands_in) - OURS
    assert not {name for name in names if not any(hasattr(one, name) for one in found)}


def test_functions_of_the_stand_in_are_cupys() -> None:
    """What NumPy has and CuPy does not is told by the contract of neither; these are used most."""
    with cupy_device() as device:
        for name in ("zeros", "full", "sin", "tanh", "concatenate", "take", "asnumpy", "float32", "nan"):
            assert getattr(device.cupy, name) is not None and hasattr(cupy, name)


def test_array_methods_take_what_is_passed() -> None:
    """They have no signature; CuPy's documentation of them begins with one."""
    assert "get(self, stream=None, order='C', out=None, blocking=True)" in cupy.ndarray.get.__doc__
    assert "set(self, arr, stream=None)" in cupy.ndarray.set.__doc__


def test_the_allocator_is_a_method_of_its_pool() -> None:
    assert hasattr(cupy.cuda.get_allocator().__self__, "used_bytes")
    assert cupy.cuda.get_allocator() == cupy.get_default_memory_pool().malloc


def test_pointer_attributes_have_a_type() -> None:
    assert "type" in cupy.cuda.runtime.PointerAttributes.__doc__


def test_out_of_memory_is_a_memory_error() -> None:
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)


def test_without_a_device_the_backend_is_unavailable() -> None:
    if cupy.cuda.is_available():
        pytest.skip("there is a device here; tests/gpu covers it")
    with pytest.raises(BackendUnavailableError, match="finds no usable CUDA device"):
        CupyBackend()
    assert not isinstance(np.zeros(1), cupy.ndarray)
