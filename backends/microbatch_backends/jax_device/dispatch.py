"""Functions of JAX return before their work is done: waiting for it, and telling what was donated.

Invariant: a call has ended when all arrays that it returned are there, so a time is of the work, and what the
work raises, above all for memory, is raised by the call that it belongs to. An argument that is given to
every part whole and that the function takes for itself (`donate_argnums`) is gone after the first part; the
next call then says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microbatch.arrays.trees import leaves_of
from microbatch.errors import ArgumentValueError
from microbatch_backends.jax_device.namespace import jax


class Awaited:
    """A function that returns when what it returned is there."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns."""
        try:
            output = self._function(*args, **kwargs)
            for leaf in (output,) if isinstance(output, jax.Array) else leaves_of(output):
                if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer):
                    leaf.block_until_ready()
        except Exception as error:
            if _deleted((args, kwargs)) and DELETED.intersection(str(error).split()):
                raise donated() from error
            raise
        return output


DELETED = frozenset({"deleted", "donated.", "donated"})
"""Words of the error that JAX raises for an argument that is gone."""


def donated() -> ArgumentValueError:
    """The error for an argument that the call of an earlier part has used up."""
    return ArgumentValueError(
        "the function takes an argument for itself (donate_argnums) that every part is given whole, so it is "
        "gone after the first one; do not donate it, or cut it too (Layout)"
    )


def _deleted(arguments: Any) -> bool:
    leaves = [leaf for leaf in leaves_of(arguments) if isinstance(leaf, jax.Array)]
    return any(not isinstance(leaf, jax.core.Tracer) and leaf.is_deleted() for leaf in leaves)
