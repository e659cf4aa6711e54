"""Arrays of a simulated device: NumPy's interface, with every operation launched on the calling thread's
stream.

Invariant: shape and dtype are known when an operation is launched, values only once its stream has run it.
Basic slices and reshapes are views and launch nothing. Reading on the host (`numpy.asarray`, `float`, a
condition) waits for the thread's current stream, as frameworks do, and for no other. A plain NumPy operand is
copied at the launch, as an upload from pageable memory is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from microbatch.testing.simulated.arguments import NumpyCall
from microbatch.testing.simulated.block_view import DeviceView
from microbatch.testing.simulated.functions import METHODS, call_function, call_ufunc
from microbatch.testing.simulated.launching import launch_new, launch_update, upload

__all__ = ["DeviceArray"]


class DeviceArray(NDArrayOperatorsMixin, DeviceView):
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
            return upload(self.owner, np.asarray(self)[_to_host(key)])
        return launch_new(self.owner, NumpyCall(function=_getitem, args=(self, key), label="getitem"))

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is self:
            return  # x[key] += y has written in place already
        if _is_basic(key):
            call = NumpyCall(function=_assign, args=(value,), label="setitem")
            launch_update(self.owner, call, self[key])
        else:
            call = NumpyCall(function=_setitem, args=(key, value), label="setitem")
            launch_update(self.owner, call, self)

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
