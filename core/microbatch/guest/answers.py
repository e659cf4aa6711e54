"""Methods of a wrapped thing that may answer the thing itself: as the wrapper has them, they answer the
wrapper.

Invariant: whatever else such a method is asked, it answers as it would by itself. Which methods answer their
own object need not be known, since what they answered says it.
"""

from __future__ import annotations

from types import BuiltinMethodType, MethodType
from typing import Any

_METHODS = (MethodType, BuiltinMethodType)


def answers_itself(value: object, runnable: object) -> bool:
    """Whether `value` is a method of `runnable`, and so may answer it."""
    return isinstance(value, _METHODS) and value.__self__ is runnable


class Answering:
    """A method of the wrapped thing, as the wrapper has it."""

    __slots__ = ("__weakref__", "__wrapped__", "_wrapper")

    def __init__(self, wrapper: Any, method: Any) -> None:
        self._wrapper = wrapper
        self.__wrapped__ = method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        answer = self.__wrapped__(*args, **kwargs)
        return self._wrapper if answer is self.__wrapped__.__self__ else answer

    def __getattr__(self, name: str) -> Any:
        if name in Answering.__slots__:  # a copy in the making
            raise AttributeError(name)
        return getattr(self.__wrapped__, name)

    @property
    def __doc__(self) -> Any:  # type: ignore[override]  # that of the method
        return self.__wrapped__.__doc__

    def __eq__(self, other: object) -> bool:
        return bool(self.__wrapped__ == (other.__wrapped__ if isinstance(other, Answering) else other))

    def __hash__(self) -> int:
        return hash(self.__wrapped__)

    def __repr__(self) -> str:
        return repr(self.__wrapped__)

    def __reduce__(self) -> Any:
        return getattr, (self._wrapper, self.__wrapped__.__name__)

    def __get__(self, instance: object, owner: Any = None) -> Answering:
        return self  # as a method that has its object already

    def __copy__(self) -> Answering:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        import copy

        return getattr(copy.deepcopy(self._wrapper, memo), self.__wrapped__.__name__)
