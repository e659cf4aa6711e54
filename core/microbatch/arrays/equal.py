"""Whether two values are equal, for arrays of any framework and for constants; NaN equals NaN.

Invariant: values of unequal dtype or shape are not equal, and what compares by element or not at all is no constant.
"""

from __future__ import annotations

from typing import Any

from microbatch.arrays.looks import describe_value, is_array, kind_of

__all__ = ["same", "text"]


def same(first: Any, second: Any) -> bool:
    """Whether two constants are equal; NaN equals NaN."""
    if is_array(first):
        return kind_of(first) == kind_of(second) and bool(_equal(first, second))
    if type(first) is not type(second):
        return False
    try:
        return bool(first == second) or bool(_nan(first) and _nan(second))
    except (TypeError, ValueError, RuntimeError):  # compares by element or not at all: not a constant
        return False


def _equal(first: Any, second: Any) -> Any:
    equal = first == second
    if getattr(first.dtype, "kind", "f") == "V":
        return equal.all()
    return (equal | (_nan(first) & _nan(second))).all()


def _nan(value: Any) -> Any:
    return value != value  # noqa: PLR0124  # the one test for NaN that every framework's arrays have


def text(value: Any) -> str:
    """A constant for a message; of arrays only a single number is shown."""
    if is_array(value):
        return repr(value.item()) if len(value.shape) == 0 else kind_of(value)
    return describe_value(value) if not isinstance(value, str) else f"a str of {len(value)}"
