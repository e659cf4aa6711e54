"""Taking and joining rows of JAX arrays, which nobody can write to, and rows of host arrays too.

Invariant: what is made has the dtype, weak type, device and sharding of what it is made from, and is
committed to its device only if that is. Nothing here is compiled for arrays of the CPU: their memory is read
by NumPy and given back to JAX without a copy. A slice by JAX itself took 1.5 ms for 1 MiB there, and joining
compiles anew for each number of parts. A part may therefore share memory with its batch; JAX never writes to
memory that it was lent, so a part that is donated is copied by JAX first.

Rejected: results that are written in place through NumPy, since the caller would hold memory that changes
although JAX promises that it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from microbatch.arrays.looks import along
from microbatch.errors import ArgumentTypeError
from microbatch_backends.host import arrays as host
from microbatch_backends.jax_device.namespace import jax

jnp = jax.numpy

ALIGNMENT = 64
"""Bytes at a multiple of which JAX takes over memory without a copy."""


def owns(array: object) -> bool:
    """Whether `array` is of JAX; one that a transform traces is, too."""
    return isinstance(array, jax.Array)


def empty(shape: Sequence[int], like: Any) -> Any:
    """An array of `shape` with the dtype and device of `like`; of JAX's arrays its values are zeros."""
    if not isinstance(like, jax.Array):
        return host.empty(shape, like)
    if is_keys(like):
        words = jax.random.key_data(like).shape[len(like.shape) :]
        made: Any = jax.random.wrap_key_data(
            np.zeros((*shape, *words), np.uint32), impl=jax.random.key_impl(like)
        )
        return made
    return _put(np.zeros(tuple(shape), like.dtype), like)


def copy(destination: Any, source: Any) -> None:
    """Write `source` into `destination`, an array of the host; TypeError where dtypes differ."""
    if isinstance(destination, jax.Array):
        raise ArgumentTypeError("a JAX array cannot be written to; write to an array of NumPy")
    if not isinstance(source, jax.Array):
        host.copy(destination, source)
    elif destination.dtype != source.dtype:
        raise host.converting(destination, source)
    else:
        destination[...] = np.asarray(source)


def rows(array: Any, where: slice, axis: int) -> Any:
    """`array` at `where` along `axis`, as an array that may share its memory."""
    return (
        _put(np.asarray(array)[along(axis, where)], array) if is_plain(array) else array[along(axis, where)]
    )


def concatenate(parts: Sequence[Any], axis: int) -> Any:
    """Join `parts` along `axis`; a transform sees it."""
    if not isinstance(parts[0], jax.Array):
        return host.concatenate(parts, axis)
    if not all(map(is_plain, parts)):
        return jnp.concatenate(parts, axis)
    first = parts[0]
    size = list(first.shape)
    size[axis] = sum(part.shape[axis] for part in parts)
    whole = _aligned(tuple(size), first.dtype)
    np.concatenate([np.asarray(part) for part in parts], axis, out=whole)
    return _put(whole, first)


def take(array: Any, indices: Sequence[int], axis: int) -> Any:
    """Rows at `indices` along `axis`, as a new array."""
    if not isinstance(array, jax.Array):
        return host.take(array, indices, axis)
    where = np.asarray(indices, np.intp)
    return _put(np.asarray(array).take(where, axis), array) if is_plain(array) else array[along(axis, where)]


def scatter(destination: Any, indices: Sequence[int], source: Any, axis: int) -> None:
    """Write rows of `source` to `destination`, an array of the host, at `indices` along `axis`."""
    if isinstance(destination, jax.Array):
        raise ArgumentTypeError("a JAX array cannot be written to; write to an array of NumPy")
    host.scatter(destination, indices, np.asarray(source) if owns(source) else source, axis)


def differentiable(arrays: Sequence[Any]) -> bool:
    """Whether a transform (grad, vmap, jit) traces any of `arrays`."""
    return any(isinstance(array, jax.core.Tracer) for array in arrays)


def unsupported(array: Any) -> str | None:
    """Why rows of `array` cannot be cut (traced, deleted, spread over devices), or None."""
    if not isinstance(array, jax.Array):
        return host.unsupported(array)
    if isinstance(array, jax.core.Tracer):
        return (
            "a transform of JAX (jit, grad, vmap) traces it, and what is traced has no values yet; "
            "wrap what the transform gives, as in wrap(jax.jit(f)), not the other way round"
        )
    if array.is_deleted():
        return "it was donated to an earlier call or deleted; pass an array that is still there"
    if len(array.sharding.device_set) > 1:
        return (
            f"its rows are spread over {len(array.sharding.device_set)} devices already; "
            "call the function itself, or bring it to one device with jax.device_put"
        )
    return None


def values(array: Any) -> np.ndarray[Any, Any]:
    """Numbers that tell one entry from another: of random keys their words."""
    words: np.ndarray[Any, Any] = np.asarray(jax.random.key_data(array) if is_keys(array) else array)
    return words


def is_keys(array: Any) -> bool:
    """Whether its entries are random keys."""
    return bool(jnp.issubdtype(array.dtype, jax.dtypes.extended))


def is_plain(array: Any) -> bool:
    """Whether NumPy reads its memory without a copy, and it can be given back to JAX as it was."""
    if not isinstance(array, jax.Array) or isinstance(array, jax.core.Tracer):
        return False
    if array.weak_type if hasattr(array, "weak_type") else is_keys(array):
        return False
    return len(array.sharding.device_set) == 1 and next(iter(array.devices())).platform == "cpu"


def _put(values: np.ndarray[Any, Any], like: Any) -> Any:
    """`values` as an array of JAX where `like` is; memory that is aligned is taken over."""
    return jax.device_put(values, like.sharding if like.committed else None)


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """Memory that JAX takes over without a copy."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    made: np.ndarray[Any, Any] = memory[start : start + size].view(dtype).reshape(shape)
    return made
