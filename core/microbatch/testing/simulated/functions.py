"""What NumPy's functions become on a simulated device.

Invariant: a function whose output shape depends on values waits for the current stream, as it would on a real
device; one that only looks at shapes launches nothing; every other is launched. Rejected: a list of supported
functions, because models use more of NumPy than a list remembers, and one that is wrong is seen at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from microbatch.testing.simulated.arguments import NumpyCall, as_views
from microbatch.testing.simulated.block_view import DeviceView
from microbatch.testing.simulated.launching import launch_into, launch_new, launch_update, upload

VIEWS = frozenset(
    {
        np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.squeeze, np.expand_dims, np.split,
        np.broadcast_to, np.broadcast_arrays, np.atleast_1d, np.atleast_2d, np.array_split, np.diagonal,
        np.flip, np.real, np.imag,
    }
)  # fmt: skip
"""Functions that give a view where they can."""
METADATA = frozenset({np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.iscomplexobj, np.isrealobj})
"""Functions that look at shape and dtype only."""
WAITING = frozenset(
    {
        np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.extract, np.compress, np.array_equal,
        np.allclose, np.array_repr, np.array_str, np.array2string, np.save, np.bincount,
    }
)  # fmt: skip
"""Functions whose result has a shape, or is a decision, that depends on values."""
WRITING = frozenset({np.copyto, np.put, np.place, np.putmask, np.fill_diagonal, np.put_along_axis})
"""Functions that write into their first argument."""


def _astype(array: Any, dtype: Any, **options: Any) -> Any:
    call = NumpyCall(function=np.ndarray.astype, args=(array, np.dtype(dtype)), label="astype")
    return launch_new(array, call)


def _reshape(array: Any, *shape: Any, **options: Any) -> Any:
    return np.reshape(array, shape[0] if len(shape) == 1 else shape, **options)


def _transpose(array: Any, *axes: Any) -> Any:
    return np.transpose(array, (axes[0] if len(axes) == 1 else axes) or None)


METHODS: Mapping[str, Any] = MappingProxyType(
    {
        name: getattr(np, name)
        for name in (
            "all", "any", "argmax", "argmin", "argpartition", "argsort", "choose", "clip", "compress", "conj",
            "conjugate", "cumprod", "cumsum", "diagonal", "dot", "max", "mean", "min", "nonzero", "prod",
            "ravel", "repeat", "round", "searchsorted", "squeeze", "std", "sum", "swapaxes", "take", "trace",
            "var",
        )
    }
    | {
        "astype": _astype,
        "copy": lambda array, order="C": np.copy(array),
        "fill": lambda array, value: array.__setitem__(..., value),
        "flatten": lambda array: np.copy(array).reshape(-1),
        "item": lambda array, *index: array.fetch().item(*index),
        "reshape": _reshape,
        "tolist": lambda array: array.fetch().tolist(),
        "transpose": _transpose,
    }
)  # fmt: skip
"""The methods of arrays."""


def call_ufunc(array: DeviceView, ufunc: np.ufunc, method: str, inputs: Any, kwargs: Any) -> Any:
    """Launch a ufunc or one of its methods; new results are of the kind of `array`."""
    label = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    if method == "at":
        return launch_update(NumpyCall(function=ufunc.at, args=inputs[1:], label=label), inputs[0])
    out = kwargs.pop("out", None)
    call = NumpyCall(function=getattr(ufunc, method), args=inputs, kwargs=kwargs, label=label)
    if out is None:
        return launch_new(array, call)
    return launch_into(call, out if isinstance(out, tuple) else (out,), array.owner.name)


def call_function(array: DeviceView, function: Any, args: Any, kwargs: Any) -> Any:
    """Launch a function of NumPy, or look at shapes, or wait."""
    label = getattr(function, "__name__", str(function))
    call = NumpyCall(function=function, args=args, kwargs=kwargs, label=label)
    if function in METADATA:
        return call.on_views()
    if function in WAITING or (function is np.where and len(args) == 1):
        return upload(array, call.on_host())
    if function in WRITING:
        return launch_update(dataclasses.replace(call, args=args[1:]), args[0])
    if function in VIEWS:
        seen = as_views(call.on_views(), args)
        if seen is not None:
            return seen
    out = kwargs.pop("out", None)  # from the call too, which holds this dict
    return launch_new(array, call) if out is None else launch_into(call, (out,), array.owner.name)
