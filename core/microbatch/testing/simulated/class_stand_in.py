"""A class that stands where a framework's class stood, and makes objects for one simulated device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["class_of"]


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
