"""Errors that strike a step at one row and one place of it, and what its caller must see then.

Invariant: what is to strike is a context variable of the caller. So each step has its own fault wherever its
parts run, and the function itself stays one that changes nothing, which the library would notice.
"""

from __future__ import annotations

import asyncio
import errno
import sys
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from microbatch.errors import UnprovenError

PLACES = ("call", "end", "yield", "hook", "load", "store", "out")
"""Where it may strike: as the function is called, before it returns, after a yield point, in a receive hook,
while a part is cut out, while rows are written, and while the place for the result is made."""


class SlottedError(Exception):
    """An exception with slots."""

    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class UnprintableError(Exception):
    """One that cannot be turned into text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class FalsyError(Exception):
    """One that counts as false, and as empty."""

    def __bool__(self) -> bool:
        return False

    def __len__(self) -> int:
        return 0


class FrozenError(Exception):
    """One that refuses attributes, as an exception that is a frozen dataclass does."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot assign to {name!r}")


class EqualError(Exception):
    """One that cannot be compared or hashed."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = None  # type: ignore[assignment]


def _deeper() -> None:
    _deeper()


def _too_deep(_: str) -> BaseException:
    """The error of a recursion without end."""
    try:
        _deeper()
    except RecursionError as error:
        return error.with_traceback(None)
    raise AssertionError("unreachable")


def _caused(text: str) -> BaseException:
    """An error with a cause and a context."""
    error = KeyError(text)
    error.__cause__ = ZeroDivisionError("the cause")
    error.__context__ = LookupError("the context")
    return error


KINDS: Mapping[str, Callable[[str], BaseException]] = MappingProxyType(
    {
        "ValueError": ValueError,
        "one with slots": lambda text: SlottedError(7),
        "one without text": UnprintableError,
        "a falsy one": FalsyError,
        "one that refuses attributes": FrozenError,
        "one that cannot be compared": EqualError,
        "KeyboardInterrupt": KeyboardInterrupt,
        "SystemExit": SystemExit,
        "GeneratorExit": GeneratorExit,
        "StopIteration": StopIteration,
        "StopAsyncIteration": StopAsyncIteration,
        "CancelledError": asyncio.CancelledError,
        "an ExceptionGroup": lambda text: ExceptionGroup(text, [ValueError(text), TypeError(text)]),
        "a BaseExceptionGroup": lambda text: BaseExceptionGroup(
            text, [KeyboardInterrupt(), ValueError(text)]
        ),
        "RecursionError": _too_deep,
        "OSError": lambda text: OSError(errno.EIO, text),
        "AssertionError": AssertionError,
        "one with a cause": _caused,
        "MemoryError": MemoryError,
    }
)
"""Name -> what makes it from a text. MemoryError strikes once, or each time: then no retry can help."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One error that is to strike."""

    kind: str
    """A key of `KINDS`."""
    place: str
    """One of `PLACES`."""
    row: int
    """The row that a part must have."""
    once: bool
    """Whether it strikes the first time only."""
    raised: list[BaseException] = field(default_factory=list)
    """What was raised, oldest first."""
    in_step: bool = False
    """Whether it struck a call of the step. One that strikes the experiment only, and then no more, need not
    reach the caller: those calls were not his."""

    def strike(self, place: str, rows: Any) -> None:
        """Raise it where `place` is reached with the row among `rows`."""
        if place != self.place or (self.once and self.raised):
            return
        if self.row in np.asarray(rows).reshape(-1):
            self.raised.append(KINDS[self.kind](f"struck at row {self.row}"))
            self.in_step = self.in_step or not _in_experiment()
            raise self.raised[-1]  # under no name: a frame that keeps the error it raises is a circle

    @property
    def lost(self) -> bool:
        """Whether an error was lost if the step returned."""
        return self.in_step and self.kind != "MemoryError"

    def __str__(self) -> str:
        return f"{self.kind} {'once' if self.once else 'always'} at {self.place!r} of row {self.row}"


FAULT: ContextVar[Fault | None] = ContextVar("campaign_fault", default=None)
"""What strikes the step of the calling code."""


def strike(place: str, rows: Any) -> None:
    """Called by functions, with the numbers of the rows they have."""
    fault = FAULT.get()
    if fault is not None:
        fault.strike(place, rows)


def wrong_with(error: BaseException, fault: Fault | None) -> str:
    """Why `error` is not what the caller of a step with `fault` should get; empty where it is."""
    if fault is None or not fault.raised:
        return f"raised though nothing had struck:\n{shown(error)}"
    if any(error is raised for raised in fault.raised):
        return ""
    if fault.kind == "MemoryError" and isinstance(error, MemoryError):
        return ""
    if (
        isinstance(error, UnprovenError)
        and not fault.in_step
        and any(error.__cause__ is each for each in fault.raised)
    ):
        return ""  # it struck the experiment, and the parts were asked for
    return f"the caller got another error than was raised ({fault}):\n{shown(error)}"


def _in_experiment() -> bool:
    """Whether the calling code runs in an experiment of the library, in the thread of the step's caller."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") == "microbatch.proof.experiment":
            return True
    return False


def shown(error: BaseException) -> str:
    """An error with its traceback, whatever its text does."""
    return "".join(traceback.format_exception(error))
