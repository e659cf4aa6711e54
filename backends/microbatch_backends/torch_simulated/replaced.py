"""Attributes of modules and classes that are others for the length of a block.

Invariant: after the block each is what it was before, or absent if it was, and the last one replaced is put
back first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

_MISSING: Any = object()


@contextmanager
def replaced(owner: Any, values: Mapping[str, Any]) -> Iterator[None]:
    """Set the attributes `values` of `owner` inside."""
    with ExitStack() as stack:
        for name, value in values.items():
            stack.callback(_put_back, owner, name, vars(owner).get(name, _MISSING))
            setattr(owner, name, value)
        yield


def _put_back(owner: Any, name: str, value: Any) -> None:
    if value is _MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, value)
