"""What Python and NumPy keep per thread, carried from the caller into workers.

Invariant: inside `apply` every context variable (NumPy's error state and the decimal context among them) has
the caller's value. After it the thread is exactly as before, even where code inside set variables and never
reset them.

That is why a copy of the context is entered as a whole. Setting one variable after the other would not do,
since a variable that had no value before cannot lose it again without its token. Each entry copies the
context, because only one thread at a time can enter a context.
"""

from __future__ import annotations

import contextvars
import ctypes
from contextlib import AbstractContextManager
from types import TracebackType

__all__ = ["EnteredContext", "HostState"]

_TAKES_CONTEXT = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)
_enter = _TAKES_CONTEXT(("PyContext_Enter", ctypes.pythonapi))
_leave = _TAKES_CONTEXT(("PyContext_Exit", ctypes.pythonapi))


class EnteredContext:
    """Makes a copy of a context the current one; what `Context.run` does, for a `with` block."""

    __slots__ = ("_context",)

    def __init__(self, context: contextvars.Context) -> None:
        self._context = context.copy()

    def __enter__(self) -> None:
        _enter(self._context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _leave(self._context)


class HostState:
    """A snapshot of the calling thread's context variables."""

    __slots__ = ("_context",)

    only_context_variables = True
    """Tells the greenlet driver to save nothing at a switch: each greenlet has its own context variables."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def apply(self) -> AbstractContextManager[None]:
        """Set it in the thread that enters, undo on exit."""
        return EnteredContext(self._context)
