"""Whether two values that are no rows are equal, and how a message shows one.

Invariant: values of unequal dtype or shape are not equal, NaN equals NaN, and a value whose comparison gives
no single answer equals nothing.
"""

from __future__ import annotations

from typing import Any

from microbatch.arrays.looks import is_array, kind_of

__all__ = ["describe_constant", "equal_values"]


def equal_values(first: Any, second: Any) -> bool:
    """Whether two constants are equal: arrays of any framework, lists entry by entry, or plain values."""
    if first is second:
        return True
    if is_array(first) or is_array(second):
        return kind_of(first) == kind_of(second) and bool(_equal_entries(first, second))
    if type(first) is not type(second):
        return False
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal_values, first, second))
    try:
        return bool(first == second) or bool(_is_nan(first) and _is_nan(second))
    except (TypeError, ValueError, RuntimeError):  # it compares entry by entry, or not at all
        return False


def _equal_entries(first: Any, second: Any) -> Any:
    equal = first == second
    if getattr(first.dtype, "kind", "f") == "V":  # records have no NaN, and `!=` of some of them raises
        return equal.all()
    return (equal | (_is_nan(first) & _is_nan(second))).all()


def _is_nan(value: Any) -> Any:
    return value != value  # noqa: PLR0124  # the one test for NaN that the arrays of every framework have


def describe_constant(value: Any) -> str:
    """A constant for a message: a single number is shown, of a larger array only its dtype and shape."""
    if is_array(value) and len(value.shape) == 0:
        return repr(value.item())
    return f"a str of {len(value)} characters" if isinstance(value, str) else kind_of(value)
