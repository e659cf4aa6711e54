"""The names of a wrapper: those of the wrapped thing first.

Invariant: a name is read from the wrapped thing, and set on it, unless it is a method that vLLM's wrapper has
too, or `microbatch`, under which all that is ours stands. `config`, `layout` and `last_report` are ours only
where the wrapped thing has none. What answers the wrapped thing itself answers the wrapper, so
`wrapper.eval()` is one. What the wrapped thing is an instance of, the wrapper is one of too, so that a
`torch.nn.Module` takes it for a submodule; a plain function is not made out to be one, since pickles, and
whoever takes functions apart, would lose the wrapper.

Rejected: a copy of `__dict__` and names, as `functools.update_wrapper` makes it: it says what was true once.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from microbatch.binding.call import Wrapped
from microbatch.guest.answers import Answering, answers_itself
from microbatch.guest.controls import Controls

OURS = ("config", "layout", "last_report", "_engine")
"""Names of ours that the wrapped thing's own go before."""
_REAL: Any = vars(Wrapped)["__dict__"]
"""Reads the real attributes of a wrapper: its `__dict__` is that of the wrapped thing."""
_HEAP = 1 << 9
"""The flag of types that are made by a class statement."""


class Guest(Wrapped):
    """The attributes of a wrapper."""

    if TYPE_CHECKING:  # cast, since the annotations of a class would be those of its instances
        _microbatch = cast(Controls, None)
        config = layout = last_report = _engine = cast(Any, None)

    def take(self, controls: Controls) -> None:
        """Stand for what `controls` have; called once."""
        runnable = controls.unwrap()
        for name in ("__module__", "__doc__"):  # a class has both, so `__getattr__` is never asked for them
            object.__setattr__(self, name, getattr(runnable, name, None))
        object.__setattr__(self, "_microbatch", controls)

    @property
    def microbatch(self) -> Controls:
        """All that is ours: options, layout, report, unwrap(), shutdown()."""
        return self._microbatch

    def unwrap(self) -> Callable[..., Any]:
        """The wrapped thing itself."""
        return self._microbatch.recipe.runnable

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        return self._microbatch.recipe.runnable

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return self.unwrap().__dict__

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        controls = _REAL.__get__(self).get("_microbatch")
        runnable = None if controls is None else controls.recipe.runnable
        return type(runnable) if _is_object(runnable) else type(self)

    def __getattr__(self, name: str) -> Any:
        if name == "_microbatch":  # not set yet: a failed __init__, or a copy in the making
            raise AttributeError(name)
        runnable = self._microbatch.recipe.runnable
        try:
            value = getattr(runnable, name)
        except AttributeError:
            if name in OURS:
                return own(self._microbatch, name)
            raise
        return Answering(self, value) if answers_itself(value, runnable) else value

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_own(name):
            object.__setattr__(self, name, value)
        else:
            setattr(self.unwrap(), name, value)

    def __delattr__(self, name: str) -> None:
        if self._is_own(name):
            object.__delattr__(self, name)
        else:
            delattr(self.unwrap(), name)

    def __dir__(self) -> list[str]:
        return sorted({*dir(self.unwrap()), *OURS[:3], *(name for name in dir(type(self)) if name[0] != "_")})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.unwrap()!r})"

    def _is_own(self, name: str) -> bool:
        """Whether a name is set on the wrapper: any before it wraps a thing, then those that it has."""
        real = _REAL.__get__(self)
        return "_microbatch" not in real or name in real or hasattr(type(self), name)


def own(controls: Controls, name: str) -> Any:
    """What is ours under one of the names that the wrapped thing has not."""
    at = {"config": "options", "layout": "layout", "last_report": "report", "_engine": "engine"}
    return getattr(controls, at[name])


def real_attributes(wrapper: Guest) -> dict[str, Any]:
    """What a class that extends a wrapper has set on it."""
    kept = _REAL.__get__(wrapper).items()
    return {name: value for name, value in kept if name not in ("_microbatch", "__module__", "__doc__")}


def _is_object(runnable: object) -> bool:
    """Whether it is an instance of somebody's class, and no kind of function."""
    kind = type(runnable)
    return bool(kind.__flags__ & _HEAP) and not inspect.isroutine(runnable) and kind is not functools.partial
