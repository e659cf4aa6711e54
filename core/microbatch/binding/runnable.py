"""What can run as a step, and what its parameters are called.

Invariant: nothing is called here. What can never run as a step is refused with the reason.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from microbatch.errors import ArgumentTypeError

__all__ = ["Wrapped", "check_runnable", "parameter_names"]


class Wrapped:
    """The base of every wrapper, by which rooms below it know a function that is wrapped already."""

    layout: Any = None
    """As given to the wrapper."""

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
    """Names of the positional parameters, for messages and layout patterns; empty where unknown."""
    try:
        parameters = inspect.signature(runnable).parameters.values()
    except (TypeError, ValueError):
        return ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(parameter.name for parameter in parameters if parameter.kind in kinds)
