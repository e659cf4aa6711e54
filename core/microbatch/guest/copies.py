"""Copies and pickles of a wrapper.

Invariant: what is copied is what the wrapper was made from: the wrapped thing, the options with where they
came from, the layout, `progress=True`. What runs (threads, streams) and what was learned stay behind; a copy
learns anew. A function for progress is of this process: copies in the same process have it, pickles do not.

A wrapper that stands under the name of its function, as a decorator leaves it, is pickled as the function
would be: by that name. In `__main__` it is pickled by what it was made from, so that cloudpickle, which takes
functions of `__main__` apart, finds the function, and `pickle` finds it by its name (`Named`). dill, whose
pickles datasets hashes to find its caches again, must take it apart too: by its name alone a script that was
edited would be served what it computed before.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FunctionType
from typing import Any, TypeVar

from microbatch.binding.call import Wrapped
from microbatch.guest.attributes import Guest, real_attributes
from microbatch.guest.controls import Controls, Recipe

Wrapper = TypeVar("Wrapper", bound=Guest)


def reduced(wrapper: Guest) -> Any:
    """What `pickle` is to make of a wrapper; of an instance's method, what it makes of any such."""
    runnable: Any = wrapper.unwrap()
    if wrapper.microbatch.bound:
        return getattr, (runnable.__self__, wrapper.microbatch.attribute)
    standing = _standing_for(runnable)
    if standing is wrapper and runnable.__module__ != "__main__":
        return runnable.__qualname__
    recipe = wrapper.microbatch.recipe
    named: Any = runnable if standing is None else Named(runnable)
    _tell_dill()
    sent = replace(
        recipe,
        runnable=named,
        layout=None if recipe.layout is None else replace(recipe.layout),  # without what it has found
        progress=True if recipe.progress is True else None,
        runtime=None,
    )
    fields = {name: getattr(sent, name) for name in Recipe.__slots__}
    return again, (type(wrapper), fields, real_attributes(wrapper))


def again(kind: type[Guest], fields: dict[str, Any], attributes: dict[str, Any]) -> Guest:
    """A wrapper made from a recipe; how pickles make one."""
    return made(kind, Controls(Recipe(**fields)), attributes)


def made(kind: type[Wrapper], controls: Controls, attributes: dict[str, Any]) -> Wrapper:
    """A new wrapper of a class, with what that class has set on it."""
    wrapper = kind.__new__(kind)
    for name, value in attributes.items():
        object.__setattr__(wrapper, name, value)
    wrapper.take(controls)
    return wrapper


def of_instance(wrapper: Wrapper, instance: object, method: Any) -> Wrapper:
    """The wrapper of `method`, which is the wrapped method as `instance` has it."""
    return made(type(wrapper), wrapper.microbatch.of(instance, method), real_attributes(wrapper))


def copied(wrapper: Wrapper, deep: Callable[[Any], Any]) -> Wrapper:
    """A wrapper of what `deep` makes of the wrapped thing; of an instance's method, that of the copy."""
    controls, attributes = wrapper.microbatch, deep(real_attributes(wrapper))
    runnable: Any = wrapper.unwrap()
    if controls.bound:
        return getattr(deep(runnable.__self__), controls.attribute)  # type: ignore[no-any-return]
    recipe = replace(controls.recipe, runnable=deep(runnable))
    return made(type(wrapper), Controls(recipe), attributes)


class Named:
    """A function whose name now leads to a wrapper of it: pickled by that name.

    One of `__main__` is the function itself to cloudpickle, which takes such functions apart.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        return FunctionType if self._function.__module__ == "__main__" else Named

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def __reduce__(self) -> Any:
        return function_called, (self._function.__module__, self._function.__qualname__)


def _tell_dill() -> None:
    """Have dill, and picklers made from its own as datasets' is, take a `Named` apart as a function."""
    dill: Any = sys.modules.get("dill")
    for pickler in () if dill is None else (dill.Pickler, *dill.Pickler.__subclasses__()):
        pickler.dispatch[Named] = _apart


def _apart(pickler: Any, named: Named) -> None:
    pickler.save(named._function)


def function_called(module: str, path: str) -> Any:
    """The function that a name leads to, out of its wrapper."""
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found.unwrap() if isinstance(found, Wrapped) else found


def _standing_for(runnable: Any) -> Guest | None:
    """The wrapper of `runnable` that its own name leads to; None where there is none."""
    if not isinstance(runnable, FunctionType):
        return None
    found: Any = sys.modules.get(runnable.__module__)
    for name in runnable.__qualname__.split("."):
        found = getattr(found, name, None)
    return found if isinstance(found, Guest) and found.unwrap() is runnable else None
