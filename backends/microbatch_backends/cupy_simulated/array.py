"""`cupy.ndarray` of the stand-in: NumPy's interface, with every operation queued on the current stream.

Invariant: nothing becomes a NumPy array by itself, and no NumPy array goes into a computation, as with CuPy.
`get` and `set` move values; with a stream they copy when that stream comes to it: also from pageable memory,
as CuPy promises no more than that such a copy is asynchronous.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from microbatch.testing.simulated.arguments import host_arrays
from microbatch.testing.simulated.array import DeviceArray
from microbatch.testing.simulated.block_view import launch
from microbatch.testing.simulated.memory import POISON
from microbatch_backends.cupy_simulated.host_bytes import HostBytes
from microbatch_backends.cupy_simulated.refusals import as_cupy

BLAS = frozenset({np.dot, np.vdot, np.inner, np.tensordot, np.einsum})
"""Functions that CuPy gives to cuBLAS, beside `@` and those of `linalg`."""


class ndarray(DeviceArray):
    """An array of the simulated device."""

    __slots__ = ()

    @property
    def device(self) -> Any:
        """Its device: the only one."""
        return 0

    @property
    def data_ptr(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """No such thing, as of CuPy's arrays."""
        raise AttributeError("'cupy.ndarray' object has no attribute 'data_ptr'")

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        interface = self.view.__array_interface__
        return {key: interface[key] for key in ("shape", "strides", "typestr", "data")} | {"version": 3}

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        self._refuse(inputs, ufunc is np.matmul)
        return super().__array_ufunc__(ufunc, method, *inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        blas = function in BLAS or getattr(function, "__module__", "").startswith("numpy.linalg")
        self._refuse((args, kwargs), blas)
        return super().__array_function__(function, types, args, kwargs)

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """A copy on the host, in `out` where that is given; behind the work of `stream`."""
        if out is None:
            target = np.empty(self.shape, self.dtype, "F" if order == "F" else "C")
            target.fill(np.frombuffer(bytes([POISON] * self.itemsize), self.dtype)[0])
        else:
            target = self._target(out)
        place = HostBytes(target, self.owner.pinned)  # type: ignore[attr-defined]
        view = self.view
        self._copy(stream, lambda: place.write(view), "get", write=False)
        if blocking:
            self._wait(stream)
        return target

    def set(self, arr: Any, stream: Any = None) -> None:
        """Copy host values here; with `stream`, when that comes to it."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{self.dtype} array cannot be set to {arr.dtype} array")
        if self.shape != arr.shape:
            raise ValueError("Shape mismatch.")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        source = HostBytes(np.ascontiguousarray(arr), self.owner.pinned)  # type: ignore[attr-defined]
        view = self.view
        self._copy(stream, lambda: source.read_into(view), "set", write=True)
        if stream is None:
            self._wait(stream)

    def fetch(self) -> np.ndarray:
        """The values, as `get` gives them."""
        with as_cupy():
            return super().fetch()

    def _wait(self, stream: Any) -> None:
        with as_cupy():
            self._stream(stream).synchronize()

    def _copy(self, stream: Any, work: Any, label: str, *, write: bool) -> None:
        with self._stream(stream).activate():
            launch(self.owner, work, () if write else (self,), (self,) if write else (), label)

    def _stream(self, stream: Any) -> Any:
        return self.owner.current() if stream is None else stream.simulated

    def _target(self, out: Any) -> np.ndarray:
        if not isinstance(out, np.ndarray):
            raise TypeError("Only numpy.ndarray can be obtained from cupy.ndarray")
        if self.dtype != out.dtype:
            raise TypeError(f"{out.dtype} array cannot be obtained from {self.dtype} array")
        if self.shape != out.shape:
            raise ValueError("Shape mismatch.")
        if not (out.flags.c_contiguous and self.flags.c_contiguous):
            raise RuntimeError("`out` cannot be specified when copying to non-contiguous ndarray")
        return out

    def _refuse(self, given: Any, blas: bool) -> None:
        """What CuPy cannot compute with, and what cannot be captured."""
        if host_arrays(given):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        if blas and self.owner.in_capture:
            raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")


ndarray.__module__ = "cupy"
