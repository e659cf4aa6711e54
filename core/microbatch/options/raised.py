"""What somebody else's code raised: its class, its text and a note on it.

Invariant: to look at an error never raises and never replaces it, however its class answers (`__str__`,
`__class__`, `add_note`, `__notes__`, `__traceback__`). Only Ctrl-C goes through. So an error is looked at
here and nowhere else: by its real type and by the slots that every exception has, which run no code of its
class.

Rejected: calling the error's own `add_note`, which would run code of its class for a comment on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar

_SLOTS = vars(BaseException)
_MEMBERS = vars(BaseExceptionGroup)["exceptions"]
_CLASS = vars(type)


Answer = TypeVar("Answer")


def attempted(call: Callable[[], Answer]) -> tuple[Answer | None, BaseException | None]:
    """What `call` returned and None, or None and what it raised: of any kind, but for Ctrl-C.

    For code that somebody else put in, where SystemExit means no more than any other error.
    """
    try:
        return call(), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whoever calls this tells of it
        for member in chain_of(error):
            drop_traceback(member)  # who is given it keeps it, and its frames hold those of the caller
        return None, error


class Harmless:
    """`with Harmless():` lets nothing out that is raised inside, but for Ctrl-C."""

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return kind is not None and not issubclass(kind, KeyboardInterrupt)


class Beside:
    """`with Beside(error):` makes what is raised inside a note of `error`, but for Ctrl-C."""

    __slots__ = ("_error",)

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, other: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if other is None or is_a(other, KeyboardInterrupt):
            return False
        note(self._error, f"while it was taken note of, this was raised: {described(other)}")
        return True


def is_a(error: BaseException, *kinds: type[BaseException]) -> bool:
    """Whether `error` is of one of `kinds` in truth: `isinstance` believes what its `__class__` says."""
    return issubclass(type(error), kinds)


def name_of(error: BaseException) -> str:
    """The name of its class."""
    return class_name(type(error))


def text_of(error: BaseException) -> str:
    """What `str` gives; where that fails, words for it."""
    with Harmless():
        return str.__str__(str(error))  # a plain one: a subclass of str has methods of its own
    return "its text cannot be made"


def described(error: BaseException) -> str:
    """Class and text, such as `ValueError: no`; the class alone where there is no text."""
    text = text_of(error)
    return f"{name_of(error)}: {text}" if text else name_of(error)


def note(error: BaseException, text: str) -> None:
    """Add a note, if the error takes one."""
    with Harmless():
        BaseException.add_note(error, text)


def class_name(kind: type) -> str:
    """Its name, whatever its metaclass answers."""
    name: str = _CLASS["__name__"].__get__(kind)
    return name


def class_module(kind: type) -> str:
    """The module it says that it is from; empty where that is no text."""
    with Harmless():
        return str.__str__(_CLASS["__module__"].__get__(kind))
    return ""


def number_of(error: BaseException, name: str) -> int | None:
    """The whole number that it has under `name`; None where there is none, or it does not give it."""
    with Harmless():
        value = getattr(error, name, None)
        if isinstance(value, int):
            return int(value)
    return None


def traceback_of(error: BaseException) -> TracebackType | None:
    """Its real traceback."""
    found: TracebackType | None = _SLOTS["__traceback__"].__get__(error)
    return found


def drop_traceback(error: BaseException) -> None:
    """Let its frames go."""
    BaseException.with_traceback(error, None)


def cause_of(error: BaseException) -> BaseException | None:
    """What it was raised from."""
    found: BaseException | None = _SLOTS["__cause__"].__get__(error)
    return found


def context_of(error: BaseException) -> BaseException | None:
    """What was being handled when it was raised, shown or not."""
    found: BaseException | None = _SLOTS["__context__"].__get__(error)
    return found


def suppresses_context(error: BaseException) -> bool:
    """Whether the context is not to be shown."""
    return bool(_SLOTS["__suppress_context__"].__get__(error))


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """The errors of a group; of any other error none."""
    if not is_a(error, BaseExceptionGroup):
        return ()
    found: tuple[BaseException, ...] = _MEMBERS.__get__(error)
    return found


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """`error`, all causes and contexts, and the members of groups; each once, in circles too."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        member = waiting.pop()
        if member is None or id(member) in seen:
            continue
        seen.add(id(member))
        yield member
        waiting += [cause_of(member), context_of(member), *members_of(member)]


def of_an_interrupt(error: BaseException) -> bool:
    """Whether it was raised while Ctrl-C was handled, and so tells of Ctrl-C and of nothing else.

    Python's own `Event.wait` does that: struck before its lock is back, it raises "release unlocked lock".
    """
    return any(is_a(member, KeyboardInterrupt) for member in chain_of(error))
