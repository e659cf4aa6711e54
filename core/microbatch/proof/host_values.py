"""The values of an array on the host, for comparing: of any framework, also one that NumPy knows nothing of.

Invariant: when it returns, the work that makes the values is done. An array that cannot be read itself is
brought over as a step would bring it, by the backend's own copy into a staging buffer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from microbatch.arrays.comparing import HostArray, equal_values, wide
from microbatch.arrays.looks import is_array
from microbatch.errors import ArgumentTypeError
from microbatch.extend.device import Device


class HostValues:
    """Reads arrays of one device."""

    __slots__ = ("_device",)

    def __init__(self, device: Device) -> None:
        self._device = device

    def __call__(self, array: Any) -> HostArray:
        """The values, in a dtype of NumPy that holds all; raises TypeError where they cannot be had."""
        if not isinstance(array, np.ndarray):
            reader = self._device.owners.values(array)
            if reader is not None:  # NumPy would make an array of objects of whatever has a length
                return reader.values(array)
        try:
            return _of_numbers(array)
        except (TypeError, AttributeError, ValueError, RuntimeError):
            if self._device.transfer is None or not self._device.backend.owns(array):
                raise ArgumentTypeError(
                    f"the values of a {type(array).__name__} cannot be read on the host, to compare them:"
                    " give it __array__, or its backend a method values (SupportsValues)"
                ) from None
        return wide(self._brought(array))

    def same(self, first: Any, second: Any) -> bool:
        """Whether two arrays hold the same values, or two other leaves are equal."""
        if is_array(first) and is_array(second) and str(first.dtype) != "object":
            return equal_values(self(first), self(second))
        return equal_values(first, second)

    def _brought(self, array: Any) -> Any:
        transfer, backend = self._device.transfer, self._device.backend
        assert transfer is not None, "asked before"
        buffer, done = transfer.staging(array.shape, array), backend.event()
        transfer.to_host(buffer, array)
        done.record(backend.current_stream())
        done.synchronize()
        return buffer


def _of_numbers(array: Any) -> HostArray:
    """The values as NumPy reads them; raises TypeError where it reads objects of what has a dtype."""
    values = wide(array)
    if values.dtype == object and str(getattr(array, "dtype", "object")) != "object":
        raise TypeError("read as objects")
    return values
