"""What policies keep of each kind of batch: how many kinds, and in what form it is written and read back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

KINDS = 256
"""Kinds of batches remembered; the oldest is forgotten first."""

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


@contextmanager
def own_state(policy: str, state: Mapping[str, Any]) -> Iterator[None]:
    """Read `state` inside; raises ValueError if it is not what `policy` wrote, whatever reading it raised."""
    try:
        if state["policy"] != policy or state["version"] != 1:
            raise ValueError("it was written by another policy or version")
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not the state of policy {policy!r}: {error}") from error
