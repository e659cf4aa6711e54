"""The module that stands where `cupy` stood: NumPy's functions on arrays of the device.

Invariant: what a function is given decides where it runs. With an array of the device it is queued; without
one the values are made on the host and copied by work of the current stream, as `cupy.full` makes them there.
A name that NumPy does not have is none here: kernels of one's own are not simulated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import optree

from microbatch.testing.simulated.arguments import device_arrays
from microbatch.testing.simulated.launching import put
from microbatch_backends.cupy_simulated.array import ndarray
from microbatch_backends.cupy_simulated.cuda import Cuda
from microbatch_backends.cupy_simulated.simulated import CupyStreams


class Cupy(ModuleType):
    """`cupy` on a simulated device."""

    __version__ = "14.2 (simulated)"
    ndarray = ndarray

    def __init__(self, streams: CupyStreams) -> None:
        super().__init__("cupy")
        self.__spec__ = ModuleSpec("cupy", None)
        self._streams = streams
        self.cuda = Cuda(streams)
        self.random = _Random(self)
        self.testing = SimpleNamespace(
            assert_allclose=_on_host(np.testing.assert_allclose),
            assert_array_equal=_on_host(np.testing.assert_array_equal),
        )
        self.get_default_memory_pool = lambda: streams.pool

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # `__path__` would make NumPy's own modules parts of this one
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        found = getattr(np, name)
        return _function(self, found) if callable(found) and not isinstance(found, type) else found

    def empty(self, shape: Any, dtype: Any = float, order: str = "C") -> Any:
        """An array of poison."""
        size = tuple(shape) if isinstance(shape, Sequence) else (shape,)
        if order == "F":
            made = ndarray.empty(self._streams, size[::-1], dtype)
            return made.viewed(made.view.T)
        return ndarray.empty(self._streams, size, dtype)

    def array(self, values: Any, dtype: Any = None) -> Any:
        """A new array with these values."""
        if isinstance(values, ndarray):
            return values.astype(dtype or values.dtype)
        made = np.asarray(values, dtype)
        new = ndarray.empty(self._streams, made.shape, made.dtype)
        put(new, made)
        return new

    def asarray(self, values: Any, dtype: Any = None) -> Any:
        """The array itself, or a new one with these values."""
        same = isinstance(values, ndarray) and dtype in (None, values.dtype)
        return values if same else self.array(values, dtype)

    def ascontiguousarray(self, values: Any, dtype: Any = None) -> Any:
        """The array itself where its rows follow each other, else a copy."""
        array = self.asarray(values, dtype)
        return array if array.flags.c_contiguous else np.copy(array)

    def asnumpy(self, array: Any) -> np.ndarray:
        """The values on the host."""
        return array.get() if isinstance(array, ndarray) else np.asarray(array)


class _Random:
    """`cupy.random`, from a seed."""

    def __init__(self, cupy: Cupy) -> None:
        self._cupy = cupy
        self._drawn = np.random.default_rng(0)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._cupy.array(getattr(self._drawn, name)(*args, **kwargs))


def _function(cupy: Cupy, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if device_arrays((args, kwargs)):
            return result
        return optree.tree_map(lambda one: cupy.array(one) if _is_array(one) else one, result)

    return called


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic))


def _on_host(function: Callable[..., None]) -> Callable[..., None]:
    def compared(*args: Any, **kwargs: Any) -> None:
        function(*[one.get() if isinstance(one, ndarray) else one for one in args], **kwargs)

    return compared
