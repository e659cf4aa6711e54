"""The arguments and results of a call of NumPy: nested tuples, lists and dicts with arrays as leaves.

Invariant: what queued work holds of an argument is a NumPy view of device memory or a copy of a host array,
never the caller's array: an array that the caller drops is freed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optree

from microbatch.errors import ArgumentTypeError
from microbatch.testing.simulated.block_view import DeviceView


@dataclass(frozen=True, slots=True, kw_only=True)
class NumpyCall:
    """A function of NumPy, and what it is called with."""

    function: Any
    """The function."""
    args: Any
    """Positional arguments: a tuple."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments by name."""
    label: str
    """What the trace calls it."""

    def arrays(self) -> list[DeviceView]:
        """The device arrays among the arguments."""
        return device_arrays((self.args, self.kwargs))

    def queued(self) -> NumpyCall:
        """The same call with what queued work may hold; ArgumentTypeError for a staging buffer."""
        return self._with(_operand)

    def on_zeros(self, **more: Any) -> Any:
        """What the function gives for zeros of these shapes and dtypes; `more` is given by name."""
        with np.errstate(all="ignore"):
            return self._with(_zeros)(**more)

    def on_host(self, *first: Any) -> Any:
        """What the function gives for `first` and host copies; waits for the current stream."""
        return self._with(_fetched)(*first)

    def on_views(self) -> Any:
        """What the function gives for NumPy views of the arrays; for looking at shapes only."""
        return self._with(_viewed)()

    def __call__(self, *first: Any, **more: Any) -> Any:
        return self.function(*first, *self.args, **self.kwargs, **more)

    def _with(self, change: Callable[[Any], Any]) -> NumpyCall:
        args = optree.tree_map(change, self.args)
        kwargs = {name: optree.tree_map(change, value) for name, value in self.kwargs.items()}
        return NumpyCall(function=self.function, args=args, kwargs=kwargs, label=self.label)


def device_arrays(values: Any) -> list[DeviceView]:
    """The device arrays in `values`."""
    return [value for value in optree.tree_leaves(values) if isinstance(value, DeviceView)]


def host_arrays(values: Any) -> list[np.ndarray]:
    """The arrays of NumPy in `values`."""
    return [value for value in optree.tree_leaves(values) if isinstance(value, np.ndarray)]


def as_views(result: Any, args: Any) -> Any:
    """`result` as views of the arrays in `args` it shares memory with; None where one shares none."""
    sources = device_arrays(args)
    complete = True

    def viewed(value: Any) -> Any:
        nonlocal complete
        for source in sources:
            if value.size == 0 or np.may_share_memory(value, source.view):
                return source.viewed(value)
        complete = False
        return None

    found = optree.tree_map(viewed, result)
    return found if complete else None


def _viewed(value: Any) -> Any:
    return value.view if isinstance(value, DeviceView) else value


def _fetched(value: Any) -> Any:
    return value.fetch() if isinstance(value, DeviceView) else value


def _operand(value: Any) -> Any:
    """What queued work may hold of an argument."""
    if isinstance(value, DeviceView):
        return value.view
    if isinstance(value, np.ndarray):
        return value.copy()
    if hasattr(value, "block"):
        raise ArgumentTypeError(
            "a staging buffer is host memory and cannot be computed with; copy it to the device"
        )
    return value


def _zeros(value: Any) -> Any:
    """Zeros of the shape of an array, in the memory of one; other values as they are."""
    if isinstance(value, np.ndarray):
        return np.broadcast_to(np.zeros((), value.dtype), value.shape)
    return value
