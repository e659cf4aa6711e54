"""An error that is kept while the code that caught it goes on.

Invariant: what is kept holds no frame. A traceback holds the frames of the function that failed, with all its
arrays; each of these holds the frame that called it, and so on up to the one that keeps the error. That is a
cycle: memory would be held until a garbage collection, in a step that has just run out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType


def without_frames(error: BaseException) -> str:
    """Drop the tracebacks of `error` and of all its causes, contexts and group members.

    Returns where it was raised, as text: file and line of the innermost frame.
    """
    where = _innermost(error.__traceback__)
    for member in _chain(error):
        member.__traceback__ = None
    return where


def _innermost(trace: TracebackType | None) -> str:
    if trace is None:
        return "unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        member = waiting.pop()
        if member is None or id(member) in seen:
            continue
        seen.add(id(member))
        yield member
        waiting += [member.__cause__, member.__context__]
        if isinstance(member, BaseExceptionGroup):
            waiting += member.exceptions
