"""From a call of NumPy to work on a stream.

Invariant: the work holds NumPy views of device memory and copies of host operands, never the caller's arrays.
Shapes of results come from running the function on zeros of the same shapes, so a shape error is raised at
the launch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from microbatch.errors import ArgumentTypeError
from microbatch.testing.simulated.arguments import NumpyCall, fetched, is_device_array, mapped
from microbatch.testing.simulated.block_view import ArrayDevice, DeviceView

__all__ = ["launch_into", "launch_new", "launch_update", "upload"]


def launch_new(device: ArrayDevice, call: NumpyCall) -> Any:
    """Launch `call`; its results in new arrays."""
    reads, queued = call.arrays(), call.queued()
    if not (device.lazy or device.in_capture):
        with np.errstate(all="ignore"):
            values = queued()
        outs, result = _new_like(device, values)
        targets = [out.view for out in outs]
        device.launch(lambda: _store(targets, values), reads, outs, call.label)
        return result
    try:
        shapes = queued.on_zeros()
    except (np.linalg.LinAlgError, ZeroDivisionError):  # zeros are singular: only the values can tell
        return upload(device, call.on_host())
    outs, result = _new_like(device, shapes)
    targets = [out.view for out in outs]
    device.launch(lambda: _store(targets, queued()), reads, outs, call.label)
    return result


def launch_into(device: ArrayDevice, call: NumpyCall, outs: Sequence[Any]) -> Any:
    """Launch `call` with its results in `outs`."""
    for out in outs:
        if not is_device_array(out):
            raise ArgumentTypeError(
                f"out= of {call.label} is a {type(out).__name__}, not an array of {device.name!r}; "
                "copy the result instead"
            )
    reads, queued = call.arrays(), call.queued()
    targets: tuple[np.ndarray, ...] = tuple([out.view for out in outs])
    several = len(outs) > 1
    into: Any = targets if several else targets[0]
    results = queued.on_zeros(out=(None,) * len(outs) if several else None)
    for result, target in zip(results if several else (results,), targets, strict=True):
        _check_shape(result, target, call.label)
    device.launch(lambda: queued(out=into), reads, outs, call.label)
    return tuple(outs) if several else outs[0]


def launch_update(device: ArrayDevice, call: NumpyCall, target: Any) -> None:
    """Launch `call`, which writes into its first argument `target`; `call.args` are the others.

    A trace is told that all of `target` is touched.
    """
    if not is_device_array(target):
        call.function(target, *fetched(call.args), **fetched(call.kwargs))
        return
    reads, queued, function = call.arrays(), call.queued(), call.function
    view = target.view
    if call.label == "setitem" and len(queued.args) == 1:
        _check_shape(queued.args[0], view, call.label)
    # not `call` itself: pending work must not keep the arrays alive that it reads
    device.launch(lambda: function(view, *queued.args, **queued.kwargs), reads, (target,), call.label)


def upload(device: ArrayDevice, values: Any) -> Any:
    """Device copies of the arrays in `values`; other values as they are."""

    def put(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        made, data = device.empty(value.shape, value.dtype), value.copy()
        view = made.view
        device.launch(lambda: np.copyto(view, data), (), (made,), "upload")
        return made

    return mapped(values, put)


def _new_like(device: ArrayDevice, values: Any) -> tuple[list[DeviceView], Any]:
    """New arrays for the arrays in `values`: in a list, and in their places."""
    outs: list[DeviceView] = []

    def new(like: Any) -> Any:
        if not isinstance(like, (np.ndarray, np.generic)):
            return like
        outs.append(device.empty(like.shape, like.dtype))
        return outs[-1]

    result = mapped(values, new)
    return outs, result


def _store(targets: Sequence[np.ndarray], values: Any) -> None:
    """Write results to where they belong."""
    found: list[Any] = []
    mapped(values, lambda value: found.append(value) if isinstance(value, (np.ndarray, np.generic)) else None)
    for target, value in zip(targets, found, strict=True):
        np.copyto(target, value)


def _check_shape(value: Any, target: np.ndarray, label: str) -> None:
    """ValueError unless `value` fits into `target`; as in NumPy, it may have more leading axes of 1."""
    shape = np.shape(value)
    try:
        fits = np.broadcast_shapes(shape, target.shape) == target.shape
    except ValueError:
        fits = False
    more = len(shape) - target.ndim
    trimmed = shape[more:] if set(shape[:more]) <= {1} else shape
    if not fits and np.broadcast_shapes(trimmed) != target.shape:
        raise ValueError(f"{label}: shape {shape} does not fit into shape {target.shape}")
