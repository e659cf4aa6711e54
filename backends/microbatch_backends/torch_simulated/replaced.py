"""Attributes of modules and classes that are others for the length of a block.

Invariant: after the block each is what it was before, or absent if it was, and the last one replaced is put
back first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

_MISSING: Any = object()


class _Bound(type):
    """The kind of `class_of`."""

    kind: type
    make: Callable[..., Any]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.make(*args, **kwargs)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.kind)


def class_of(kind: type, make: Callable[..., Any]) -> type:
    """What stands where a class stood: calls go to `make`, which gives objects of `kind`.

    A class and no function, since libraries ask `isinstance`, and write `torch.cuda.Event | None`.
    """
    return _Bound(kind.__name__, (kind,), {"kind": kind, "make": staticmethod(make), "__doc__": kind.__doc__})


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
