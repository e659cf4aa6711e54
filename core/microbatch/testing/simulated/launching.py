"""From a call of NumPy to work on a stream.

Invariant: the work holds NumPy views of device memory and copies of host operands, never the caller's arrays.
Shapes of results come from running the function on zeros of the same shapes, so a shape error is raised at
the launch. Results are arrays of the kind of the array `like`, on its device.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import setitem
from typing import Any

import numpy as np
import optree

from microbatch.errors import ArgumentTypeError
from microbatch.testing.simulated.arguments import NumpyCall
from microbatch.testing.simulated.block_view import DeviceView, launch


def launch_new(like: DeviceView, call: NumpyCall) -> Any:
    """Launch `call`; its results in new arrays."""
    device, reads, queued = like.owner, call.arrays(), call.queued()
    now = not (device.lazy or device.in_capture)
    try:
        with np.errstate(all="ignore"):
            values = queued() if now else queued.on_zeros()
    except (np.linalg.LinAlgError, ZeroDivisionError):  # zeros are singular: only the values can tell
        if now:
            raise
        return upload(like, call.on_host())
    outs, result = _new_like(like, values)
    targets = [out.view for out in outs]
    launch(device, lambda: _store(targets, values if now else queued()), reads, outs, call.label)
    return result


def launch_into(call: NumpyCall, outs: Sequence[Any], device: str) -> Any:
    """Launch `call` with its results in `outs`, arrays of `device`."""
    for out in outs:
        if not isinstance(out, DeviceView):
            raise ArgumentTypeError(
                f"out= of {call.label} is a {type(out).__name__}, not an array of {device!r}; "
                "copy the result instead"
            )
    reads, queued = call.arrays(), call.queued()
    targets: tuple[np.ndarray, ...] = tuple([out.view for out in outs])
    several = len(outs) > 1
    into: Any = targets if several else targets[0]
    results = queued.on_zeros(out=(None,) * len(outs) if several else None)
    for result, target in zip(results if several else (results,), targets, strict=True):
        _check_shape(result, target, call.label)
    launch(outs[0].owner, lambda: queued(out=into), reads, outs, call.label)
    return tuple(outs) if several else outs[0]


def launch_update(call: NumpyCall, target: Any) -> None:
    """Launch `call`, which writes into its first argument `target`; `call.args` are the others.

    A trace is told that all of `target` is touched.
    """
    if not isinstance(target, DeviceView):
        call.on_host(target)
        return
    view, reads, queued = target.view, call.arrays(), call.queued()
    if call.function is setitem and queued.args[0] is Ellipsis:
        _check_shape(queued.args[1], view, call.label)
    # `queued`, not `call`: pending work must not keep the arrays alive that it reads
    launch(target.owner, lambda: queued(view), reads, (target,), call.label)


def upload(like: DeviceView, values: Any) -> Any:
    """Device copies of the arrays in `values`; other values as they are."""

    def on_device(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        made = like.empty(like.owner, value.shape, value.dtype)
        put(made, value)
        return made

    return optree.tree_map(on_device, values)


def put(target: DeviceView, values: np.ndarray) -> None:
    """Copy `values`, which may change afterwards, to `target`."""
    view, data = target.view, values.copy()
    launch(target.owner, lambda: np.copyto(view, data), (), (target,), "upload")


def _new_like(like: DeviceView, values: Any) -> tuple[list[DeviceView], Any]:
    """New arrays for the arrays in `values`: in a list, and in their places."""
    outs: list[DeviceView] = []

    def new(value: Any) -> Any:
        if not isinstance(value, (np.ndarray, np.generic)):
            return value
        outs.append(like.empty(like.owner, value.shape, value.dtype))
        return outs[-1]

    result = optree.tree_map(new, values)
    return outs, result


def _store(targets: Sequence[np.ndarray], values: Any) -> None:
    """Write results to where they belong."""
    found = [value for value in optree.tree_leaves(values) if isinstance(value, (np.ndarray, np.generic))]
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
