"""Arrays of a simulated device: NumPy's interface, with every operation launched on the calling thread's
stream.

Invariant: shape and dtype are known when an operation is launched, values only once its stream has run it.
Basic slices and reshapes are views and launch nothing. Reading on the host (`numpy.asarray`, `float`, a
condition) waits for the thread's current stream, as frameworks do, and for no other. A plain NumPy operand is
copied at the launch, as an upload from pageable memory is.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import getitem, setitem
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from microbatch.testing.simulated.arguments import NumpyCall
from microbatch.testing.simulated.block_view import DeviceView
from microbatch.testing.simulated.functions import METHODS, call_function, call_ufunc
from microbatch.testing.simulated.launching import launch_new, launch_update, upload


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

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return call_ufunc(self, ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return call_function(self, function, args, kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array of a simulated device cannot be seen from the host without a copy")
        return self.fetch().astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: Any) -> Any:
        if _is_basic(key):
            return self.part(key)
        call = NumpyCall(function=getitem, args=(self, key), label="getitem")
        return upload(self, call.on_host()) if _has_mask(key) else launch_new(self, call)

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is self:
            return  # x[key] += y has written in place already
        target, place = (self.part(key), ...) if _is_basic(key) else (self, key)
        launch_update(NumpyCall(function=setitem, args=(place, value), label="setitem"), target)

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
        return float(self.fetch())

    def __int__(self) -> int:
        return int(self.fetch())

    def __index__(self) -> int:
        return int(self.fetch().__index__())

    def __bool__(self) -> bool:
        return bool(self.fetch())

    def __repr__(self) -> str:
        return f"<array of {self.dtype} {self.shape} on {self.device!r}>"


def _is_basic(key: Any) -> bool:
    """Whether a view can show what `key` picks: slices, numbers, new axes, no mask and no list."""
    basic = (slice, int, np.integer, type(None), type(...))
    return all(isinstance(part, basic) and not isinstance(part, bool) for part in _parts(key))


def _has_mask(key: Any) -> bool:
    return any(isinstance(part, bool) or getattr(part, "dtype", None) == np.bool_ for part in _parts(key))


def _parts(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)
