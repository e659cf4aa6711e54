"""What Python and NumPy keep per thread, carried from the caller into workers.

Invariant: inside `apply` every context variable (NumPy's error state and the decimal context among them) has
the caller's value. After it the thread is exactly as before, even where code inside set variables and never
reset them. An applied state may be left more than once, and an interrupt at any bytecode leaves it entered
and known to be, or not entered.

That is why a copy of the context is entered as a whole. Setting one variable after the other would not do,
since a variable that had no value before cannot lose it again without its token. Each entry copies the
context, because only one thread at a time can enter a context.
"""

from __future__ import annotations

import contextvars
import ctypes
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from operator import call

_TAKES_CONTEXT = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)
_enter = _TAKES_CONTEXT(("PyContext_Enter", ctypes.pythonapi))
_leave = _TAKES_CONTEXT(("PyContext_Exit", ctypes.pythonapi))


class OneStep:
    """A block that is entered by one call and left by another, each noted as it is made."""

    __slots__ = ("_enter", "_leave", "_noted")

    def __init__(self, enter: Callable[[], object], leave: Callable[[], object]) -> None:
        """`enter` and `leave` are functions in C, so that no interrupt comes into them."""
        self._enter = enter
        self._leave = leave
        self._noted: list[object] = []

    def __enter__(self) -> None:
        self._noted.extend(map(call, (self._enter,)))  # made and noted in one step of C

    def __exit__(self, *exc_info: object) -> None:
        if len(self._noted) == 1:
            self._noted.extend(map(call, (self._leave,)))


def entered(context: contextvars.Context) -> OneStep:
    """The block in which a copy of `context` is the current one; what `Context.run` does."""
    copied = context.copy()
    return OneStep(partial(_enter, copied), partial(_leave, copied))


class HostState:
    """A snapshot of the calling thread's context variables."""

    __slots__ = ("_context",)

    only_context_variables = True
    """Tells the greenlet driver to save nothing at a switch: each greenlet has its own context variables."""

    def __init__(self) -> None:
        self._context = contextvars.copy_context()

    def apply(self) -> AbstractContextManager[None]:
        """Set it in the thread that enters, undo on exit."""
        return entered(self._context)
