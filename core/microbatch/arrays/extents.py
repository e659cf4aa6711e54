"""Which bytes an array covers, and whether two arrays share some.

Invariant: nothing is read, copied or waited for. An array is looked at by its address, shape and strides, on
whatever device it is; a mapped file also by the place in the file, as two maps of one file have different
addresses. Of an array that tells no address nothing is claimed. Rejected: comparing the first and the last
byte only, since two columns of one table lie between each other and share nothing.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct

Shadow: TypeAlias = np.ndarray[Any, Any]
"""An array of NumPy over the bytes of any array, for its place alone; never read: it may be on a device."""
WORK = 100_000
"""Steps that the exact comparison of two arrays may take (milliseconds); what takes more counts as shared."""
IN_FILES = 1 << 16
"""Added to places in a file, since an array at address 0 is none."""
_SHARES: Any = np.shares_memory
"""Its annotations know of two amounts of work only."""


class Extent(Struct, frozen=True):
    """The bytes of one array."""

    spaces: tuple[tuple[Hashable, Shadow], ...]
    """Where they are: in the memory of the process, in a file, or in both."""

    def shared_with(self, other: Extent) -> tuple[Shadow, Shadow] | None:
        """Both arrays, in the first space in which they have a byte in common; None where there is none."""
        for space, mine in self.spaces:
            for place, theirs in other.spaces:
                if space == place and _share(mine, theirs):
                    return mine, theirs
        return None

    def overlaps_itself(self) -> bool:
        """Whether two entries may be in the same bytes; never true of slices of an ordinary array."""
        return any(_folded(shadow) for _, shadow in self.spaces)


def extent_of(array: Any) -> Extent:
    """The bytes of `array`; none for an array without entries, and for one that tells no address."""
    array = _seen(array)
    shadow = _shadow(array)
    if shadow is None or shadow.size == 0:
        return Extent(())
    in_file = _in_file(array)
    return Extent((("memory", shadow),) if in_file is None else (("memory", shadow), in_file))


def has_address(array: Any) -> bool:
    """Whether `array` is memory of its own and a slice of it is a view of that memory."""
    whole = _shadow(array)
    part = None if whole is None or whole.ndim == 0 else _shadow(array[:1])
    return whole is not None and part is not None and _start(whole) == _start(part)


def host_view(array: Any) -> np.ndarray[Any, Any] | None:
    """The memory of an array on the host as NumPy sees it; None where that takes a copy or is read-only."""
    if str(getattr(array, "device", "")) != "cpu":
        return None
    try:
        seen = np.asarray(array)
    except (BufferError, RuntimeError, TypeError, ValueError):
        return None
    shadow = _shadow(array)
    same = shadow is not None and _start(shadow) == _start(seen) and shadow.strides == seen.strides
    return seen if same and seen.flags.writeable else None


def same_rows(first: Shadow, second: Shadow, axis: int) -> bool:
    """Whether entry i of one along `axis` shares bytes with entry i of the other and with no further one.

    Neither may overlap itself. So is an array and itself, or rows of a table and their first columns.
    """
    if first.ndim <= axis or second.ndim <= axis or _start(first) != _start(second):
        return False
    if first.shape == second.shape and first.strides == second.strides:
        return True
    step = first.strides[axis]
    if first.shape[axis] != second.shape[axis] or step != second.strides[axis]:
        return False
    (low, high), (lowest, highest) = _row(first, axis), _row(second, axis)
    return max(high, highest) - min(low, lowest) <= abs(step)


def _share(first: Shadow, second: Shadow) -> bool:
    try:
        return bool(_SHARES(first, second, max_work=WORK))
    except np.exceptions.TooHardError:
        return True


def _folded(shadow: Shadow) -> bool:
    """Whether a step along some axis is shorter than what lies within one of its entries."""
    extent = shadow.itemsize
    steps = [(abs(step), size) for step, size in zip(shadow.strides, shadow.shape, strict=True) if size > 1]
    for step, size in sorted(steps):
        if step < extent:
            return True
        extent += step * (size - 1)
    return False


def _row(shadow: Shadow, axis: int) -> tuple[int, int]:
    """First and last byte of an entry along `axis`, counted from where it starts."""
    low, high = 0, shadow.itemsize
    for place, (step, size) in enumerate(zip(shadow.strides, shadow.shape, strict=True)):
        if place != axis:
            low, high = low + min(0, step * (size - 1)), high + max(0, step * (size - 1))
    return low, high


def _seen(array: Any) -> Any:
    """The array behind a column of a table or a labelled array, where that is in memory."""
    if isinstance(array, np.ndarray) or hasattr(array, "data_ptr"):
        return array
    inner = np.asarray(array) if hasattr(array, "iloc") else getattr(array, "data", None)
    return inner if isinstance(inner, np.ndarray) else array


def _shadow(array: Any) -> Shadow | None:
    """An array of NumPy with the address, shape and strides of `array`; None where it does not tell them."""
    if isinstance(array, np.ndarray):
        return np.asarray(array)
    try:
        if hasattr(array, "data_ptr"):
            return _at(array.data_ptr(), array.shape, _byte_strides(array), array.itemsize)
        interface = getattr(array, "__array_interface__", None) or array.__cuda_array_interface__
        size = np.dtype(interface["typestr"]).itemsize
        return _at(interface["data"][0], interface["shape"], interface.get("strides"), size)
    except (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None


def _byte_strides(array: Any) -> Sequence[int]:
    """Torch counts entries, everybody else bytes."""
    strides: Sequence[int] | None = getattr(array, "strides", None)
    return [step * array.itemsize for step in array.stride()] if strides is None else strides


def _at(address: int, shape: Sequence[int], strides: Sequence[int] | None, size: int) -> Shadow | None:
    if not address:
        return None
    place = _Place()
    place.__array_interface__ = {
        "data": (int(address), True),
        "shape": tuple(shape),
        "strides": None if strides is None else tuple(strides),
        "typestr": f"|V{size}",
        "version": 3,
    }
    return np.asarray(place)


class _Place:
    """What NumPy makes an array of without reading it."""

    __array_interface__: dict[str, Any]


def _start(shadow: Shadow) -> int:
    return int(shadow.__array_interface__["data"][0])


def _in_file(array: Any) -> tuple[Hashable, Shadow] | None:
    """The file that `array` is mapped from, and its place there; None where there is none or none is told."""
    mapped, base = None, array
    while isinstance(base, np.ndarray):
        mapped, base = base if isinstance(base, np.memmap) else mapped, base.base
    if mapped is None or mapped.filename is None:
        return None
    try:
        status = os.stat(mapped.filename)
    except OSError:  # it was removed, and lives on as long as it is mapped
        return None
    place = IN_FILES + mapped.offset + _start(array) - _start(mapped)
    shadow = _at(place, array.shape, array.strides, array.itemsize)
    return None if shadow is None else ((status.st_dev, status.st_ino), shadow)
