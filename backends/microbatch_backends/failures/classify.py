"""Which exceptions mean "out of memory", for every framework at once.

Invariant: one table, read from top to bottom, decides about one exception. The whole chain of causes and
contexts is asked, outermost first, and a dead device anywhere in it decides. Type name, status and text are
compared, so no framework is imported to recognise its errors, and a function of one framework may call
another.

The caller may run a step inside its own `except MemoryError:`. That MemoryError is then in the chain of
whatever fails in the step, and does not count. Its traceback tells: an exception that was caught inside the
step was caught by a frame that the error passed through later.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from traceback import walk_tb
from types import FrameType

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.table import RULES, Facts

GRAVEST_FIRST = (FailureKind.DEAD, FailureKind.OTHER, FailureKind.SUSPECT, FailureKind.OOM, FailureKind.SIZE)
"""What a group of errors means is the first of these that a member means."""


def classify(error: BaseException) -> FailureKind:
    """What `error` means for retrying; anything that is not an Exception (an interrupt) is OTHER."""
    if not isinstance(error, Exception):
        return FailureKind.OTHER
    verdicts = [kind for link in _chain(error) if (kind := _judge(link)) is not FailureKind.OTHER]
    if FailureKind.DEAD in verdicts:
        return FailureKind.DEAD
    return verdicts[0] if verdicts else FailureKind.OTHER


def _judge(error: BaseException) -> FailureKind:
    if isinstance(error, BaseExceptionGroup):
        # no retry may hide the caller's own error in the group
        return min(map(classify, error.exceptions), key=GRAVEST_FIRST.index)
    facts = _facts(error)
    return next((rule.kind for rule in RULES if rule.matches(facts)), FailureKind.OTHER)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """`error`, then what it was raised from or raised while handling; each error once, in circles too."""
    seen: set[int] = set()
    frames: set[FrameType] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        frames.update(frame for frame, _ in walk_tb(link.__traceback__))
        yield link
        if link.__cause__ is not None or link.__suppress_context__:
            link = link.__cause__
        else:
            link = link.__context__ if _caught_within(link.__context__, frames) else None


def _caught_within(context: BaseException | None, frames: set[FrameType]) -> bool:
    """Whether `context` was caught by one of `frames`; assumed where no traceback is left to tell."""
    if context is None:
        return False
    trace = context.__traceback__
    return trace is None or not frames or trace.tb_frame in frames


def _facts(error: BaseException) -> Facts:
    status = getattr(error, "status", None) or getattr(error, "error_code", None)
    return Facts(
        types=frozenset(name for kind in type(error).__mro__ for name in _names(kind)),
        text=f" {re.sub(r'[^a-z0-9]+', ' ', _text(error).casefold()).strip()} ",
        status=status if isinstance(status, int) else None,
        errno=error.errno if isinstance(error, OSError) else None,
    )


def _names(kind: type) -> tuple[str, str]:
    """Such as `OutOfMemoryError` and `torch.OutOfMemoryError`; inner modules change between versions."""
    return kind.__name__, f"{kind.__module__.partition('.')[0]}.{kind.__name__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception whose text cannot be made must not hide the failure
        return ""
