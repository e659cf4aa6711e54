"""Are the options of a policy what they must be; ArgumentValueError names policy, option and remedy."""

from __future__ import annotations

from typing import Any

from microbatch.errors import ArgumentValueError


def whole(policy: str, name: str, value: Any, least: int = 1) -> int:
    """A whole number of at least `least`; a bool or a float is none."""
    if type(value) is not int or value < least:
        due = f"a whole number of at least {least}"
        raise ArgumentValueError(f"{name}={value!r} of policy {policy!r}; give {due}")
    return value


def number(policy: str, name: str, value: Any, most: float, *, zero: bool = False) -> float:
    """A finite number above 0 (from 0 on if `zero`) and at most `most`; a bool or a text is none."""
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (real and (0 <= value if zero else 0 < value) and value <= most):
        due = f"a number {'from' if zero else 'above'} 0 up to {most:g}"
        raise ArgumentValueError(f"{name}={value!r} of policy {policy!r}; give {due}")
    return float(value)
