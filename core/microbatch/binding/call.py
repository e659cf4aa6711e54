"""A function that can run as a step, and one call of it, as `check` and `tune` are given them.

Invariant: nothing is called here. What can never run as a step is refused with the reason, and a wrapper is
taken apart, so that what follows never runs a step inside a step.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from microbatch.binding.batch import Batch
from microbatch.binding.binder import Binder
from microbatch.binding.rules import Layout
from microbatch.errors import ArgumentTypeError
from microbatch.extend.device import FindBackend, device_of
from microbatch.extend.protocols import Backend


class Wrapped:
    """The base of every wrapper, by which rooms below it know what is wrapped already."""

    @property
    def microbatch(self) -> Any:
        """What is ours of it: `layout` is as it was given."""
        raise AssertionError("every wrapper has its own")

    def unwrap(self) -> Callable[..., Any]:
        """The wrapped thing itself."""
        raise AssertionError("every wrapper says what it wraps")


def check_runnable(runnable: object) -> None:
    """Refuse what cannot be run as a step: classes, coroutines, generators, what is already wrapped."""
    if isinstance(runnable, Wrapped):
        raise ArgumentTypeError("the function is already wrapped; to change its options, wrap its unwrap()")
    if isinstance(runnable, type):
        raise ArgumentTypeError(f"the class {runnable.__name__} was given; pass an instance of it")
    if not callable(runnable):
        raise ArgumentTypeError(
            f"an object of type {type(runnable).__name__} cannot be called; pass a function or module"
        )
    while isinstance(runnable, functools.partial):
        runnable = runnable.func
    called = runnable if inspect.isroutine(runnable) else type(runnable).__call__
    if inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called):
        raise ArgumentTypeError(
            "the function is async, which no step can be; wrap the synchronous function inside it"
        )
    if inspect.isgeneratorfunction(called):
        raise ArgumentTypeError(
            "the function is a generator, which no step can be; return arrays instead of yielding"
        )


def parameter_names(runnable: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the positional parameters, for messages and layout patterns; empty where unknown.

    A module of torch is called with anything and hands it on to `forward`, whose names are the user's.
    """
    called = _positional(runnable)
    return called or _positional(getattr(runnable, "forward", None))


def _positional(found: Any) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)


class Call(Struct, frozen=True, kw_only=True):
    """One call that could be made."""

    function: Callable[..., Any]
    """What is called."""
    args: tuple[Any, ...]
    """Positional arguments."""
    kwargs: dict[str, Any]
    """Arguments by name."""
    layout: Layout | None
    """How the arguments are cut where their sizes do not say it."""

    @classmethod
    def of(
        cls, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], layout: Layout | None = None
    ) -> Call:
        """The call; a wrapper's layout counts where none is given. ArgumentTypeError for what is no step."""
        if isinstance(function, Wrapped):
            layout, function = layout or function.microbatch.layout, function.unwrap()
        check_runnable(function)
        return cls(function=function, args=args, kwargs=kwargs, layout=layout)

    def binder(self, backend: Backend, find: FindBackend | None = None) -> Binder:
        """What finds the batch in such calls; `find` says whose an array of another framework is."""
        names, device = parameter_names(self.function), device_of(backend, find)
        return Binder(layout=self.layout, names=names, device=device)

    def batch(self, backend: Backend) -> Batch:
        """The batch in the arguments; raises LayoutError where there is none."""
        return self.binder(backend).bind(self.args, self.kwargs)
