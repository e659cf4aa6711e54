"""Which exceptions mean "out of memory", for every framework at once.

Invariant: one table decides about one exception (`table.py`), by its class, a number that it holds, and its
text. The whole chain of causes and contexts is asked, outermost first, and a dead device anywhere in it
decides. Classes are compared by name, so no framework is imported to recognise its errors, and a function of
one framework may call another. Nothing is raised from here: what cannot be read is the caller's own error.

The caller may run a step inside its own `except MemoryError:`. That MemoryError is then in the chain of
whatever fails in the step, and does not count. Its traceback tells: an exception that was caught inside the
step was caught by a frame that the error passed through later.
"""

from __future__ import annotations

from collections.abc import Iterator
from traceback import walk_tb
from types import FrameType

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.known_classes import Known, carries, known_as, known_by_name
from microbatch_backends.failures.statements import message_of, statements_in
from microbatch_backends.failures.verdicts import of_number, of_statement

GRAVEST_FIRST = (FailureKind.DEAD, FailureKind.OTHER, FailureKind.SUSPECT, FailureKind.OOM, FailureKind.SIZE)
"""What a group of errors means is the first of these that a member means."""

MOST_LINKS = 1_000
"""Causes and contexts looked at, as many as frames may be on Python's stack."""


def classify(error: BaseException) -> FailureKind:
    """What `error` means for retrying; anything that is not an Exception (an interrupt) is OTHER."""
    try:
        return _of_chain(error) if isinstance(error, Exception) else FailureKind.OTHER
    except Exception:  # noqa: BLE001 - such as groups nested too deep: it must not hide the failure
        return FailureKind.OTHER


def _of_chain(error: Exception) -> FailureKind:
    verdicts = [kind for link in _chain(error) if (kind := _judge(link)) is not FailureKind.OTHER]
    if FailureKind.DEAD in verdicts:
        return FailureKind.DEAD
    return verdicts[0] if verdicts else FailureKind.OTHER


def _judge(error: BaseException) -> FailureKind:
    if isinstance(error, BaseExceptionGroup):
        # no retry may hide the caller's own error in the group
        return min(map(classify, error.exceptions), key=GRAVEST_FIRST.index)
    known = known_as(type(error))
    if not known:
        return FailureKind.OTHER
    return of_number(known, error) or _of_message(error, known) or FailureKind.OTHER


def _of_message(error: BaseException, known: tuple[Known, ...]) -> FailureKind | None:
    """What the text says, and where it says nothing, the class."""
    kinds = [
        kind
        for statement in statements_in(_text(error), carries)
        if (kind := of_statement(known_by_name(statement.name) if statement.name else known, statement))
    ]
    return FailureKind.DEAD if FailureKind.DEAD in kinds else next(iter(kinds), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error`, then what it was raised from or raised while handling; each error once, in circles too."""
    seen: set[int] = set()
    frames: set[FrameType] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < MOST_LINKS:
        seen.add(id(link))
        yield link
        context = link.__context__
        if context is not None or link.__cause__ is not None:
            frames.update(frame for frame, _ in walk_tb(link.__traceback__))
        if link.__cause__ is not None or link.__suppress_context__:
            link = link.__cause__
        else:
            link = context if _caught_within(context, frames) else None


def _caught_within(context: BaseException | None, frames: set[FrameType]) -> bool:
    """Whether `context` was caught by one of `frames`; assumed where no traceback is left to tell."""
    if context is None:
        return False
    trace = context.__traceback__
    return trace is None or not frames or trace.tb_frame in frames


def _text(error: BaseException) -> str:
    try:
        return message_of(error)
    except Exception:  # noqa: BLE001 - an exception whose text cannot be made is read by its class
        return ""
