"""A function and the arguments of one call of it, as `check` and `tune` are given them.

Invariant: a wrapper is taken apart here, so that what follows never runs a step inside a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from microbatch.binding.batch import Batch, bind
from microbatch.binding.rules import Layout
from microbatch.binding.runnable import Wrapped, check_runnable, parameter_names
from microbatch.extend.protocols import Backend

__all__ = ["Call"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
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
        """The call; a wrapper is unwrapped, and its layout counts where none is given.

        Raises ArgumentTypeError for what cannot be run as a step.
        """
        if isinstance(function, Wrapped):
            layout, function = layout or function.layout, function.unwrap()
        check_runnable(function)
        return cls(function=function, args=args, kwargs=kwargs, layout=layout)

    def batch(self, backend: Backend) -> Batch:
        """The batch in the arguments; raises LayoutError where there is none."""
        names = parameter_names(self.function)
        return bind(self.layout, self.args, self.kwargs, backend=backend, names=names)
