"""From a call of NumPy to work on a stream.

Invariant: the work holds NumPy views of device memory and copies of host operands, never the caller's arrays. Shapes
of results come from running the function on zeros of the same shapes, so a shape error is raised at the launch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from microbatch.errors import ArgumentTypeError

if TYPE_CHECKING:
    from microbatch.testing.simulated.array import DeviceArray
    from microbatch.testing.simulated.device import SimulatedDevice

__all__ = ["apply", "apply_into", "as_views", "fetched", "put_all", "update", "views"]

Leaf = Callable[[Any], Any]


def apply(device: SimulatedDevice, function: Any, args: Any, kwargs: Any, label: str) -> Any:
    """Launch `function`; its results in new arrays."""
    reads = _arrays((args, kwargs))
    seen, options = _mapped(args, _operand), _mapped(kwargs, _operand)
    if device.lazy or device.in_capture:
        try:
            shapes = _on_zeros(function, seen, options)
        except (np.linalg.LinAlgError, ZeroDivisionError):  # zeros are singular: only the values can tell
            return put_all(device, function(*fetched(args), **fetched(kwargs)))
        outs: list[DeviceArray] = []
        result = _mapped(shapes, lambda like: _new(device, like, outs))
        targets = [out.view for out in outs]
        device.launch(lambda: _store(targets, function(*seen, **options)), reads, outs, label)
        return result
    with np.errstate(all="ignore"):
        values = function(*seen, **options)
    outs = []
    result = _mapped(values, lambda like: _new(device, like, outs))
    targets = [out.view for out in outs]
    device.launch(lambda: _store(targets, values), reads, outs, label)
    return result


def apply_into(
    device: SimulatedDevice, function: Any, args: Any, kwargs: Any, outs: Sequence[Any], label: str
) -> Any:
    """Launch `function` with its results in `outs`."""
    for out in outs:
        if not is_device_array(out):
            raise ArgumentTypeError(
                f"out= of {label} is a {type(out).__name__}, not an array of {device.name!r}; copy the result instead"
            )
    reads = _arrays((args, kwargs))
    seen, options = _mapped(args, _operand), _mapped(kwargs, _operand)
    targets: tuple[np.ndarray, ...] = tuple([out.view for out in outs])
    several = len(outs) > 1
    into: Any = targets if several else targets[0]
    results = _on_zeros(function, seen, {**options, "out": (None,) * len(outs) if several else None})
    for result, target in zip(results if several else (results,), targets, strict=True):
        _check_shape(result, target, label)
    device.launch(lambda: function(*seen, out=into, **options), reads, outs, label)
    return tuple(outs) if several else outs[0]


def update(
    device: SimulatedDevice,
    function: Any,
    target: Any,
    args: Any,
    label: str,
    kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Launch `function(target, *args)`, which writes into `target`. Touches all of it, as far as a trace knows."""
    options = kwargs or {}
    if not is_device_array(target):
        function(target, *fetched(args), **fetched(options))
        return
    reads = _arrays((args, options))
    seen, named = _mapped(args, _operand), _mapped(options, _operand)
    view = target.view
    if label == "setitem" and len(seen) == 1:
        _check_shape(seen[0], view, label)
    device.launch(lambda: function(view, *seen, **named), reads, (target,), label)


def put_all(device: SimulatedDevice, values: Any) -> Any:
    """Device copies of the arrays in `values`; other values as they are."""

    def put(value: Any) -> Any:
        if not isinstance(value, np.ndarray):
            return value
        made, data = device.empty(value.shape, value.dtype), value.copy()
        view = made.view
        device.launch(lambda: np.copyto(view, data), (), (made,), "upload")
        return made

    return _mapped(values, put)


def views(values: Any) -> Any:
    """The same with NumPy views for device arrays; for looking at shapes only."""
    return _mapped(values, lambda value: value.view if is_device_array(value) else value)


def fetched(values: Any) -> Any:
    """The same with host copies for device arrays; waits for the current stream."""
    return _mapped(values, lambda value: np.asarray(value) if is_device_array(value) else value)


def as_views(result: Any, args: Any) -> Any:
    """`result` as views of the arrays in `args` it shares memory with; None where one shares none."""
    sources = _arrays(args)
    complete = True

    def viewed(value: Any) -> Any:
        nonlocal complete
        for source in sources:
            if value.size == 0 or np.may_share_memory(value, source.view):
                return source.viewed(value)
        complete = False
        return None

    found = _mapped(result, viewed)
    return found if complete else None


class OnDevice:
    """What arrays of a simulated device are and staging buffers are not."""

    __slots__ = ()


def is_device_array(value: object) -> bool:
    """Whether `value` is an array of a simulated device."""
    return isinstance(value, OnDevice)


def _operand(value: Any) -> Any:
    """What queued work may hold of an argument."""
    if is_device_array(value):
        return value.view
    if isinstance(value, np.ndarray):
        return value.copy()
    if hasattr(value, "block"):
        raise ArgumentTypeError(
            "a staging buffer is host memory and cannot be computed with; copy it to the device"
        )
    return value


def _mapped(values: Any, function: Leaf) -> Any:
    """`function` on every leaf of nested tuples, lists and dicts."""
    if isinstance(values, (OnDevice, np.ndarray)):
        return function(values)
    if isinstance(values, dict):
        return {key: _mapped(value, function) for key, value in values.items()}
    if isinstance(values, tuple):
        mapped = [_mapped(value, function) for value in values]
        return type(values)(*mapped) if hasattr(values, "_fields") else tuple(mapped)
    if isinstance(values, list):
        return [_mapped(value, function) for value in values]
    return function(values)


def _arrays(values: Any) -> list[DeviceArray]:
    """The device arrays in `values`."""
    found: list[DeviceArray] = []
    _collect(values, found)
    return found


def _collect(values: Any, found: list[DeviceArray]) -> None:
    if isinstance(values, OnDevice):
        found.append(values)  # type: ignore[arg-type]
    elif isinstance(values, (tuple, list)):
        for value in values:
            _collect(value, found)
    elif isinstance(values, dict):
        _collect(tuple(values.values()), found)


def _on_zeros(function: Any, args: Any, kwargs: Any) -> Any:
    """What `function` gives for zeros of these shapes and dtypes."""

    def zeros(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return np.broadcast_to(np.zeros((), value.dtype), value.shape)
        return value

    with np.errstate(all="ignore"):
        return function(*_mapped(args, zeros), **_mapped(kwargs, zeros))


def _new(device: SimulatedDevice, like: Any, outs: list[DeviceArray]) -> Any:
    if not isinstance(like, (np.ndarray, np.generic)):
        return like
    outs.append(device.empty(like.shape, like.dtype))
    return outs[-1]


def _store(targets: Sequence[np.ndarray], values: Any) -> None:
    """Write results to where they belong."""
    found: list[Any] = []
    _mapped(
        values, lambda value: found.append(value) if isinstance(value, (np.ndarray, np.generic)) else None
    )
    for target, value in zip(targets, found, strict=True):
        np.copyto(target, value)


def _check_shape(value: Any, target: np.ndarray, label: str) -> None:
    shape = np.shape(value)
    try:
        fits = np.broadcast_shapes(shape, target.shape) == target.shape
    except ValueError:
        fits = False
    trimmed = shape[len(shape) - target.ndim :] if set(shape[: len(shape) - target.ndim]) <= {1} else shape
    if not fits and np.broadcast_shapes(trimmed) != target.shape:
        raise ValueError(f"{label}: shape {shape} does not fit into shape {target.shape}")
