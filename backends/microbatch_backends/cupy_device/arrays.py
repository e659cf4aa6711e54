"""Reading and writing rows of CuPy arrays, and of host arrays too, since a function of CuPy may return NumPy.

Invariant: a copy never converts values, and every operation is launched on the calling thread's stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from microbatch_backends.cupy_device.namespace import CupyNamespace
from microbatch_backends.host import arrays as host


class CupyArrays:
    """The methods of a backend that work on arrays of one namespace."""

    _namespace: CupyNamespace

    differentiable = staticmethod(host.differentiable)

    def owns(self, array: object) -> bool:
        """Whether `array` is a CuPy array."""
        return isinstance(array, self._namespace.ndarray)

    def empty(self, shape: Sequence[int], like: Any) -> Any:
        """An uninitialised array with the dtype and axis order of `like`, for use on the current stream."""
        if not isinstance(like, self._namespace.ndarray):
            return host.empty(shape, like)
        flags = like.flags
        order = "F" if flags.f_contiguous and not flags.c_contiguous else "C"
        return self._namespace.cupy.empty(tuple(shape), dtype=like.dtype, order=order)

    def copy(self, destination: Any, source: Any) -> None:
        """Write `source` into `destination` of the same shape and dtype."""
        if not isinstance(destination, self._namespace.ndarray):
            host.copy(destination, source)
            return
        if destination.dtype != source.dtype:
            raise host.converting(destination, source)
        self._namespace.cupy.copyto(destination, source)

    def concatenate(self, parts: Sequence[Any], axis: int) -> Any:
        """Join `parts` along `axis`."""
        if not isinstance(parts[0], self._namespace.ndarray):
            return host.concatenate(parts, axis)
        return self._namespace.cupy.concatenate(list(parts), axis=axis)

    def take(self, array: Any, indices: Sequence[int], axis: int) -> Any:
        """Rows of `array` at `indices` along `axis`, as a new array."""
        if not isinstance(array, self._namespace.ndarray):
            return host.take(array, indices, axis)
        return self._namespace.cupy.take(array, self._positions(indices), axis=axis)

    def scatter(self, destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
        """Write rows of `source` to `destination` at `indices` along `axis`."""
        if not isinstance(destination, self._namespace.ndarray):
            host.scatter(destination, indices, source, axis)
            return
        where: list[Any] = [slice(None)] * destination.ndim
        where[axis] = self._positions(indices)
        destination[tuple(where)] = source

    def unsupported(self, array: Any) -> str | None:
        """Why rows of `array` cannot be cut, or None."""
        if type(array).__module__.startswith("cupyx.scipy.sparse"):
            return host.sparse(array)
        return None if isinstance(array, self._namespace.ndarray) else host.unsupported(array)

    def _positions(self, indices: Sequence[int]) -> Any:
        return self._namespace.cupy.asarray(np.asarray(indices, dtype=np.int64))
