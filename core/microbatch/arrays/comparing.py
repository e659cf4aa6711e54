"""Whether two values are equal; compared on the host.

Invariant: numbers are compared in a precision at least that of their dtype. NaN equals NaN, infinities must
be the same, values of unequal dtype or shape are not equal, and a value whose comparison gives no single
answer equals nothing. The tolerance of outputs is relative to the leaf's own size (its mean magnitude), so
that a sum that cancels to nearly 0 in one place is not called different for the rounding of its terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import MappingProxyType
from typing import Any

import numpy as np

from microbatch.arrays.looks import dtype_name, is_array, kind_of
from microbatch.arrays.memory import on_host
from microbatch.arrays.row_types import has_rows, rows_of

HostArray = np.ndarray[Any, Any]

RELATIVE: Mapping[str, float] = MappingProxyType(
    {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-4, "complex64": 1e-4}
)
"""Rounding of a few hundred operations in another order; another row does orders of magnitude more."""
RELATIVE_ELSE = 1e-8
"""The same for float64 and complex128."""


def equal_values(first: Any, second: Any) -> bool:
    """Whether two constants are equal: arrays of any framework, lists entry by entry, or plain values."""
    if first is second:
        return True
    if is_array(first) or is_array(second):
        if kind_of(first) != kind_of(second):
            return False
        if str(first.dtype) == "object":  # its entries may be arrays, which have no single answer
            return all(map(equal_values, np.asarray(first).flat, np.asarray(second).flat))
        return bool(_equal_entries(first, second))
    if type(first) is not type(second):
        return False
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal_values, first, second))
    if has_rows(first):
        return same_rows(first, second, equal_values)
    try:
        return bool(first == second) or bool(_is_nan(first) and _is_nan(second))
    except (TypeError, ValueError, RuntimeError):  # it compares entry by entry, or not at all
        return False


def same_rows(first: Any, second: Any, same: Callable[[Any, Any], bool], *, labels: bool = True) -> bool:
    """Whether two tables or lists of one type have the same rows, by what `same` says of two entries.

    Without `labels` only what `first` tells of its rows is compared.
    """
    rows = rows_of(first)
    if rows is None or type(first) is not type(second) or rows.alike(first) != rows.alike(second):
        return False
    one, other = rows.read(first), rows.read(second)
    if any(name not in other for name in one) or (labels and len(one) != len(other)):
        return False
    return all(_same_column(one[name], other[name], same) for name in one)


def _same_column(first: Any, second: Any, same: Callable[[Any, Any], bool]) -> bool:
    if is_array(first):
        return same(first, second)
    return len(first) == len(second) and all(map(same, first, second))


def close_entries(first: Any, second: Any, rtol: float) -> bool:
    """Whether two entries of a table are equal, floats to rounding."""
    if type(first) is type(second) is float:
        return bool(np.isclose(first, second, rtol=rtol, atol=rtol, equal_nan=True))
    if is_array(first) and is_array(second) and first.shape == second.shape and first.dtype == second.dtype:
        return not far_apart(wide(first), wide(second), rtol).any()
    return equal_values(first, second)


def _equal_entries(first: Any, second: Any) -> Any:
    equal = first == second
    if getattr(first.dtype, "kind", "f") == "V":  # records have no NaN, and `!=` of some of them raises
        return equal.all()
    return (equal | (_is_nan(first) & _is_nan(second))).all()


def _is_nan(value: Any) -> Any:
    return value != value  # noqa: PLR0124  # the one test for NaN that the arrays of every framework have


def far_apart(
    expected: HostArray, found: HostArray, rtol: float, atol: float | None = None
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which entries differ by more than rounding; `atol` None takes `rtol` times the mean magnitude."""
    if expected.dtype.kind not in "fc":
        return np.asarray(expected != found)
    return quietly(lambda: _apart(expected, found, rtol, atol))


def _apart(
    expected: HostArray, found: HostArray, rtol: float, atol: float | None
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if atol is None:
        # Terms as large as the leaf's other values may have cancelled in one that is nearly 0: their
        # rounding stays, so the mean magnitude sets the floor.
        atol = rtol * float(magnitudes(expected).mean()) if expected.size else 0.0
    return np.asarray(~np.isclose(found, expected, rtol=rtol, atol=atol, equal_nan=True))


def quietly(work: Callable[[], HostArray]) -> HostArray:
    """What `work` returns, without NumPy's warnings of infinities and NaN.

    In a copy of the context variables, where NumPy keeps what it warns of: an interrupt on the way out would
    else leave the caller's settings changed.
    """
    return copy_context().run(_ignoring, work)


def _ignoring(work: Callable[[], HostArray]) -> HostArray:
    with np.errstate(invalid="ignore", over="ignore"):
        return work()


def rounding_of(array: Any) -> float:
    """The relative tolerance for the dtype of `array`."""
    return RELATIVE.get(dtype_name(array), RELATIVE_ELSE)


def magnitudes(values: HostArray) -> HostArray:
    return np.where(np.isfinite(values), np.abs(values), 0.0)


def wide(array: Any) -> HostArray:
    """The values on the host, in a dtype of NumPy that holds them all; for arrays of every framework."""
    if not isinstance(array, np.ndarray):
        array = _as_numpy(array)
    least = {"f": "f8", "c": "c16"}.get(array.dtype.kind)
    values: HostArray = array
    if (
        array.dtype.kind == "V"
        and issubclass(array.dtype.type, np.generic)
        and array.dtype.type is not np.void
    ):
        return values.astype(np.float64)  # bfloat16 and its like, which are no types of NumPy's own
    # np.ma is imported where it is first named: 8 ms, which plain arrays need not wait for
    masked = type(values) is not np.ndarray and isinstance(values, np.ma.MaskedArray)
    if masked and values.dtype.kind in "biuf":
        return np.where(np.ma.getmaskarray(values), np.nan, values.data)  # what is masked equals itself
    return values if least is None else values.astype(np.promote_types(values.dtype, least), copy=False)


def _as_numpy(array: Any) -> HostArray:
    """The values of another framework's array; of a dtype that NumPy lacks (bfloat16) through Python's
    float."""
    if hasattr(array, "detach"):
        array = array.detach()  # torch gives no values of what autograd records
    try:
        return on_host(array)
    except (TypeError, RuntimeError, ValueError, AttributeError, BufferError):
        return np.asarray(array.tolist())
