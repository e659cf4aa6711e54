"""Arrays of a simulated device: NumPy's interface, with every operation launched on the calling thread's stream.

Invariant: shape and dtype are known when an operation is launched, values only once its stream has run it. Basic
slices and reshapes are views and launch nothing. Reading on the host (`numpy.asarray`, `float`, a condition) waits for
the thread's current stream, as frameworks do, and for no other. A plain NumPy operand is copied at the launch, as an
upload from pageable memory is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from microbatch.testing.simulated.functions import METHODS, call_function, call_ufunc
from microbatch.testing.simulated.launching import OnDevice, apply, put_all, update
from microbatch.testing.simulated.ranges import byte_ranges

if TYPE_CHECKING:
    from microbatch.testing.simulated.device import SimulatedDevice
    from microbatch.testing.simulated.memory import Block

__all__ = ["DeviceArray", "Memory"]


class Memory:
    """A view of a block: what arrays of the device and staging buffers have in common."""

    __slots__ = ("__weakref__", "_ranges", "block", "owner", "view")

    def __init__(self, view: np.ndarray, block: Block, owner: SimulatedDevice) -> None:
        self.view = view
        """The bytes as NumPy sees them; reading them directly is a host read that nothing orders."""
        self.block = block
        self.owner = owner
        self._ranges: tuple[tuple[tuple[int, int], ...], bool] | None = None

    @property
    def ranges(self) -> tuple[tuple[tuple[int, int], ...], bool]:
        """The bytes of its block it covers, and whether they are exact."""
        if self._ranges is None:
            self._ranges = byte_ranges(self.view, self.block.data.__array_interface__["data"][0])
        return self._ranges

    @property
    def shape(self) -> tuple[int, ...]:
        """As of NumPy."""
        return self.view.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of NumPy."""
        return self.view.dtype

    @property
    def ndim(self) -> int:
        """As of NumPy."""
        return self.view.ndim

    @property
    def size(self) -> int:
        """As of NumPy."""
        return self.view.size

    @property
    def nbytes(self) -> int:
        """As of NumPy."""
        return self.view.nbytes

    @property
    def itemsize(self) -> int:
        """As of NumPy."""
        return self.view.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """As of NumPy."""
        return self.view.strides

    def data_ptr(self) -> int:
        """The address of the first element, as of torch."""
        return int(self.view.__array_interface__["data"][0])

    def __len__(self) -> int:
        return len(self.view)

    __hash__ = None  # type: ignore[assignment]


class DeviceArray(NDArrayOperatorsMixin, Memory, OnDevice):
    """An array on a simulated device; made by its backend, never directly."""

    __slots__ = ()

    @property
    def device(self) -> str:
        """Name of its device."""
        return self.owner.name

    @property
    def T(self) -> DeviceArray:
        """The transposed view."""
        return self.viewed(self.view.T)

    @property
    def mT(self) -> DeviceArray:
        """The view with its last two axes swapped."""
        return self.viewed(self.view.mT)

    @property
    def real(self) -> DeviceArray:
        """The view of the real parts."""
        return self.viewed(np.real(self.view))

    @property
    def imag(self) -> Any:
        """The view of the imaginary parts; zeros where the numbers have none."""
        return self.viewed(np.imag(self.view)) if self.dtype.kind == "c" else np.zeros_like(self)

    @property
    def flags(self) -> Any:
        """As of NumPy: how the bytes lie."""
        return self.view.flags

    def viewed(self, view: np.ndarray) -> DeviceArray:
        """Another view of the same block."""
        return type(self)(view, self.block, self.owner)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return call_ufunc(self.owner, ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call_function(self.owner, function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array of a simulated device cannot be seen from the host without a copy")
        return self.owner.fetch(self).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: Any) -> Any:
        if _is_basic(key):
            part = self.view[key]
            if not isinstance(part, np.ndarray):  # one element: a 0-dimensional view
                place = key if isinstance(key, tuple) else (key,)
                part = self.view[(*place, ...)]
            return self.viewed(part)
        if _has_mask(key):
            return put_all(self.owner, np.asarray(self)[_to_host(key)])
        return apply(self.owner, _getitem, (self, key), {}, "getitem")

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is self:
            return  # x[key] += y has written in place already
        if _is_basic(key):
            update(self.owner, _assign, self[key], (value,), "setitem")
        else:
            update(self.owner, _setitem, self, (key, value), "setitem")

    def __getattr__(self, name: str) -> Any:
        function = METHODS.get(name)
        if function is None:
            raise AttributeError(
                f"arrays of a simulated device have no {name!r}; use NumPy's function of that name"
            )
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __float__(self) -> float:
        return float(np.asarray(self))

    def __int__(self) -> int:
        return int(np.asarray(self))

    def __index__(self) -> int:
        return int(np.asarray(self).__index__())

    def __bool__(self) -> bool:
        return bool(np.asarray(self))

    def __repr__(self) -> str:
        return f"<array of {self.dtype} {self.shape} on {self.device!r}>"


def _is_basic(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return all(
        part is None
        or part is Ellipsis
        or isinstance(part, (slice, int, np.integer))
        and not isinstance(part, bool)
        for part in parts
    )


def _has_mask(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return any(isinstance(part, bool) or getattr(part, "dtype", None) == np.bool_ for part in parts)


def _to_host(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_to_host(part) for part in key)
    return np.asarray(key) if isinstance(key, DeviceArray) else key


def _getitem(view: np.ndarray, key: Any) -> Any:
    return view[key]


def _assign(target: np.ndarray, value: Any) -> None:
    target[...] = value


def _setitem(target: np.ndarray, key: Any, value: Any) -> None:
    target[key] = value
