"""A wrapped method: each instance has its own steps, which go when the instance goes.

Invariant: nothing here keeps an instance alive. What an instance's method has learned is kept in a table by
its id; it holds the instance weakly, and a weak reference takes the entry out when the instance goes. What
is read from an instance, `instance.method`, holds it as any bound method does. An instance that cannot be
referred to weakly has nothing kept: each `instance.method` learns anew.

Rejected: an attribute of the instance (its copies, pickles and comparisons would have it, and it would be a
cycle), a `WeakKeyDictionary` (instances that are equal would share, and some have no hash).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import MethodType
from typing import Any, Generic, TypeVar

from microbatch.errors import ClosedError

Kept = TypeVar("Kept")


class OfInstance:
    """A method of one instance, which it refers to weakly; its names are those of the bound method."""

    def __init__(self, function: Callable[..., Any], instance: weakref.ref[Any]) -> None:
        self.__func__ = function
        self.__module__ = function.__module__
        self._instance = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    @property
    def __self__(self) -> Any:
        return self._instance()

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        instance = self._instance()
        if instance is None:
            raise ClosedError(f"the object whose {self.__func__!r} this is has gone; keep it while steps run")
        return MethodType(self.__func__, instance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func__, name)


class Instances(Generic[Kept]):
    """What each instance's method has learned. Usable from several threads at once."""

    __slots__ = ("__weakref__", "_kept")

    def __init__(self) -> None:
        self._kept: dict[int, tuple[weakref.ref[Any], Kept]] = {}

    def of(self, instance: object, method: Any, make: Callable[[Callable[..., Any]], Kept]) -> Kept:
        """What is kept for `method`, which `instance` has; made for a function where there is nothing."""
        entry = self._kept.get(id(instance))
        if entry is not None and entry[0]() is instance:
            return entry[1]
        try:
            reference = weakref.ref(instance, _forget(self, id(instance)))
        except TypeError:
            return make(method)
        if not isinstance(method, MethodType):
            return make(method)
        made = make(OfInstance(method.__func__, weakref.ref(instance)))
        if entry is not None:  # of one that has gone, whose id this one has
            self._kept.pop(id(instance), None)
        return self._kept.setdefault(id(instance), (reference, made))[1]

    def drop(self, key: int, reference: weakref.ref[Any]) -> None:
        """The instance has gone."""
        entry = self._kept.get(key)
        if entry is not None and entry[0] is reference:
            del self._kept[key]


def _forget(instances: Instances[Any], key: int) -> Callable[[weakref.ref[Any]], None]:
    """What takes an entry out; it must not keep the table alive, nor the wrapper that has it."""
    table = weakref.ref(instances)

    def forget(reference: weakref.ref[Any]) -> None:
        found = table()
        if found is not None:
            found.drop(key, reference)

    return forget
