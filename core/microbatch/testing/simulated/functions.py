"""What NumPy's functions become on a simulated device.

Invariant: a function whose output shape depends on values waits for the current stream, as it would on a real device;
one that only looks at shapes launches nothing; every other is launched. Rejected: a list of supported functions,
because models use more of NumPy than a list remembers, and one that is wrong is seen at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from microbatch.testing.simulated.launching import (
    apply,
    apply_into,
    as_views,
    fetched,
    put_all,
    update,
    views,
)

if TYPE_CHECKING:
    from microbatch.testing.simulated.device import SimulatedDevice

__all__ = ["METHODS", "call_function", "call_ufunc"]

VIEWS = frozenset(
    {
        np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.squeeze, np.expand_dims, np.broadcast_to,
        np.atleast_1d, np.atleast_2d, np.split, np.array_split, np.diagonal, np.flip, np.real, np.imag,
        np.broadcast_arrays,
    }
)  # fmt: skip
"""Functions that give a view where they can."""
METADATA = frozenset({np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj})
"""Functions that look at shape and dtype only."""
WAITING = frozenset(
    {
        np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.extract, np.compress, np.array_equal, np.allclose,
        np.array_repr, np.array_str, np.array2string, np.save, np.bincount,
    }
)  # fmt: skip
"""Functions whose result has a shape, or is a decision, that depends on values."""
WRITING = frozenset({np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis})
"""Functions that write into their first argument."""


def _astype(array: Any, dtype: Any, **options: Any) -> Any:
    return apply(array.owner, _convert, (array, np.dtype(dtype)), {}, "astype")


def _convert(view: np.ndarray, dtype: Any) -> np.ndarray:
    return view.astype(dtype)


def _reshape(array: Any, *shape: Any, **options: Any) -> Any:
    return np.reshape(array, shape[0] if len(shape) == 1 else shape, **options)


def _transpose(array: Any, *axes: Any) -> Any:
    return np.transpose(array, (axes[0] if len(axes) == 1 else axes) or None)


def _fill(array: Any, value: Any) -> None:
    array[...] = value


def _item(array: Any, *index: Any) -> Any:
    return np.asarray(array).item(*index)


def _tolist(array: Any) -> Any:
    return np.asarray(array).tolist()


def _copy(array: Any, order: str = "C") -> Any:
    return np.copy(array)


METHODS: Mapping[str, Any] = MappingProxyType(
    {
        name: getattr(np, name)
        for name in (
            "all", "any", "argmax", "argmin", "argpartition", "argsort", "choose", "clip", "compress", "conj",
            "conjugate", "cumprod", "cumsum", "diagonal", "dot", "max", "mean", "min", "nonzero", "prod", "ravel",
            "repeat", "round", "searchsorted", "squeeze", "std", "sum", "swapaxes", "take", "trace", "var",
        )
    }
    | {
        "astype": _astype,
        "copy": _copy,
        "fill": _fill,
        "flatten": lambda array: np.copy(array).reshape(-1),
        "item": _item,
        "reshape": _reshape,
        "tolist": _tolist,
        "transpose": _transpose,
    }
)  # fmt: skip
"""The methods of arrays."""


def call_ufunc(device: SimulatedDevice, ufunc: np.ufunc, method: str, inputs: Any, kwargs: Any) -> Any:
    """Launch a ufunc or one of its methods."""
    if method == "at":
        return update(device, ufunc.at, inputs[0], inputs[1:], f"{ufunc.__name__}.at")
    function = getattr(ufunc, method)
    label = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    out = kwargs.pop("out", None)
    if out is None:
        return apply(device, function, inputs, kwargs, label)
    outs = out if isinstance(out, tuple) else (out,)
    return apply_into(device, function, inputs, kwargs, outs, label)


def call_function(device: SimulatedDevice, function: Any, args: Any, kwargs: Any) -> Any:
    """Launch a function of NumPy, or look at shapes, or wait."""
    label = getattr(function, "__name__", str(function))
    if function in METADATA:
        return function(*views(args), **views(kwargs))
    if function in WAITING or (function is np.where and len(args) == 1):
        return put_all(device, function(*fetched(args), **fetched(kwargs)))
    if function in WRITING:
        return update(device, function, args[0], args[1:], label, kwargs)
    if function in VIEWS:
        seen = as_views(function(*views(args), **views(kwargs)), args)
        if seen is not None:
            return seen
    out = kwargs.pop("out", None)
    if out is None:
        return apply(device, function, args, kwargs, label)
    return apply_into(device, function, args, kwargs, (out,), label)
