"""What policies keep of each kind of batch: how many kinds, and in what form it is written and read back.

Invariant: a file that was tampered with may only choose among sizes that are safe. So each number that is
read back is of its type and in a range that a real one is in, and what is computed from them is finite: a
state that is taken never makes a later step raise or warn.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

from microbatch.options.messages import shown
from microbatch.options.raised import described

KINDS = 256
"""Kinds of batches remembered; the oldest is forgotten first."""
MOST_UNITS = 2**62
"""Largest size of a batch that is believed."""
MOST_BYTES = 2.0**62
"""Largest peak in bytes that is believed."""
SHORTEST, LONGEST = 1e-18, 1e9
"""Seconds of one unit or one part that are believed."""

Key = TypeVar("Key")
Kind = TypeVar("Kind")


def remember(kinds: dict[Key, Kind], key: Key, kind: Kind) -> Kind:
    """Add `kind`, and forget the oldest where there are too many."""
    kinds[key] = kind
    if len(kinds) > KINDS:
        del kinds[next(iter(kinds))]
    return kind


def state_of(policy: str, **learned: Any) -> dict[str, Any]:
    """The state of `policy` for its `state`; `learned` can be written as JSON."""
    return {"policy": policy, "version": 1, **learned}


class OwnState(AbstractContextManager[None]):
    """Read `state` inside; raises ValueError if it is not what `policy` wrote, whatever reading it raised.

    No generator: where one raises another error than it was given, Python 3.12 leaves a reference cycle.
    """

    __slots__ = ("_policy", "_state")

    def __init__(self, policy: str, state: Mapping[str, Any]) -> None:
        self._policy = policy
        self._state = state

    def __enter__(self) -> None:
        try:
            known = self._state["policy"] == self._policy and self._state["version"] == 1
        except Exception as error:
            raise self._foreign(error) from error
        if not known:
            raise self._foreign(ValueError("it was written by another policy or version"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            raise self._foreign(error) from error

    def _foreign(self, error: Exception) -> ValueError:
        return ValueError(f"not the state of policy {self._policy!r}: {described(error)}")


def whole(value: object, least: int, most: int) -> int:
    """`value`, if it is a whole number from `least` to `most`; else raises ValueError."""
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{shown(value)} is no whole number from {least} to {most}")
    return value


def real(value: object, least: float, most: float) -> float:
    """`value` as a float, if it is a number from `least` to `most`; else raises ValueError."""
    if type(value) not in (int, float) or not least <= value <= most:  # type: ignore[operator]
        raise ValueError(f"{shown(value)} is no number from {least:g} to {most:g}")
    return float(value)  # type: ignore[arg-type]
