"""Is an argument what it must be: whole numbers, seconds, switches, names, sizes.

Invariant: each check returns the value in its plain Python type or raises, naming the argument, what was
given and what to give. ArgumentTypeError is for the wrong kind, ArgumentValueError for the wrong value,
UnknownNameError for a name that does not exist. `True` is no count and `"2"` is no number: both come from
mistakes. No check meets None: the field of an option says whether that is a value of it.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any

from microbatch.errors import ArgumentTypeError, ArgumentValueError, SliceError, UnknownNameError, near_match
from microbatch.options.byte_sizes import parse_bytes, parse_share
from microbatch.options.field_words import schedule_meant
from microbatch.options.messages import given, shorten

LONGEST_WAIT = 10**9
"""Seconds; locks of some platforms overflow beyond."""


def as_whole(value: object) -> int | None:
    """`value` as a plain int if it is a whole number (NumPy's too); None for a bool, float or text."""
    if _is_switch(value):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]  # whatever it is, this says whether it counts
    except TypeError:
        return None


def whole(name: str, value: object) -> int:
    """A whole number of any sign."""
    number = as_whole(value)
    if number is None:
        raise ArgumentTypeError(f"{name} is {given(value)}; give a whole number")
    return number


def position(name: str, value: object) -> int:
    """A whole number from 0, such as a place in a batch; SliceError for a negative one."""
    number = whole(name, value)
    if number < 0:
        raise SliceError(f"{name} is {number}; negative positions are not accepted, count from 0")
    return number


def count(name: str, value: object, highest: int = 2**63 - 1) -> int:
    """A whole number from 1 to `highest`."""
    number = whole(name, value)
    if not 1 <= number <= highest:
        raise ArgumentValueError(f"{name} is {number}; it must be from 1 to {highest}")
    return number


def seconds(name: str, value: Any) -> float:
    """A positive finite number of seconds."""
    if isinstance(value, (str, bytes)) or _is_switch(value) or not hasattr(value, "__float__"):
        raise ArgumentTypeError(f"{name} is {given(value)}; give a positive number of seconds, or None")
    number = float(value)
    if not 0 < number <= LONGEST_WAIT:  # also refuses nan and inf
        most = f"up to {LONGEST_WAIT}, or None for no limit"
        raise ArgumentValueError(f"{name} is {number}; give a positive number of seconds {most}")
    return number


def flag(name: str, value: Any) -> bool:
    """True or False; nothing that merely counts as one."""
    if not isinstance(value, bool):
        raise ArgumentTypeError(f"{name} is {given(value)}; give True or False")
    return value


def choice(name: str, value: Any, known: Sequence[str]) -> str:
    """One of `known`."""
    text = _text(name, value)
    if text not in known:
        hint = schedule_meant(text) if name == "schedule" else ""
        raise UnknownNameError(f"{name} {shorten(text)!r} does not exist;{hint or near_match(text, known)}")
    return text


def names(name: str, value: Any) -> str:
    """A name, or names joined by commas; whether they exist is asked when they are looked up."""
    parts = [part.strip() for part in _text(name, value).split(",")]
    if not all(parts):
        raise ArgumentValueError(f"{name} is {shorten(value)!r}; give a name, such as 'auto'")
    return ",".join(parts)


def label(name: str, value: Any) -> str:
    """Any text that is not empty."""
    if not _text(name, value).strip():
        raise ArgumentValueError(f"{name} is empty; give a text, or None")
    return str(value)


def path(name: str, value: Any) -> str:
    """A path as text."""
    text = _text(name, os.fspath(value) if isinstance(value, os.PathLike) else value)
    if not text.strip() or "\0" in text:
        raise ArgumentValueError(f"{name} is {shorten(text)!r}; give the path of a file, or None")
    return text


def size(name: str, value: Any) -> int | str:
    """Bytes as a whole number or as text such as `2GiB`; a share of the capacity stays a text: `40%`."""
    if isinstance(value, str):
        try:
            return parse_share(value) if "%" in value else parse_bytes(value)
        except ArgumentValueError as error:
            raise ArgumentValueError(f"{name}: {error}") from None
    if isinstance(value, float) and 0 < value < 1:
        raise ArgumentTypeError(f"{name} is {given(value)}; give bytes, or a share as text: '{value:.0%}'")
    return count(name, value)


def increasing(name: str, value: Any) -> tuple[int, ...]:
    """Whole numbers from 1, sorted, each once."""
    try:
        numbers = None if isinstance(value, (str, bytes, Mapping)) else list(value)
    except TypeError:
        numbers = None
    if numbers is None:
        raise ArgumentTypeError(f"{name} is {given(value)}; give whole numbers, such as [8, 16, 32]")
    if not numbers:
        raise ArgumentValueError(f"{name} is empty; give at least one, or None")
    return tuple(sorted({count(name, number) for number in numbers}))


def increasing_in_text(name: str, value: Any) -> tuple[int, ...]:
    """As `increasing`, also of a text such as `8,16,32`."""
    if isinstance(value, str):
        try:
            value = [int(part) for part in value.split(",")]
        except ValueError:
            text = f"{name} is {shorten(value)!r}; give numbers, such as '8,16,32'"
            raise ArgumentValueError(text) from None
    return increasing(name, value)


def thing(name: str, value: Any) -> Any:
    """An object that has no text; what it must be is known to whoever uses it."""
    if isinstance(value, (str, bytes, bool, float)):
        raise ArgumentTypeError(f"{name} is {given(value)}; give the object itself, in code, or None")
    return value


def _is_switch(value: object) -> bool:
    """Whether it is True or False, also of a framework: `np.True_`, or a tensor, which counts as 1."""
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} is {given(value)}; give a name as text")
    return value
