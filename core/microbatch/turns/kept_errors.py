"""An error that is kept while the code that caught it goes on.

Invariant: what is kept holds no frame. A traceback holds the frames of the function that failed, with all its
arrays; each of these holds the frame that called it, and so on up to the one that keeps the error. That is a
cycle: memory would be held until a garbage collection, in a step that has just run out of it.
"""

from __future__ import annotations

from types import TracebackType

from microbatch.options.raised import chain_of, drop_traceback, traceback_of


def without_frames(error: BaseException) -> str:
    """Drop the tracebacks of `error` and of all its causes, contexts and group members.

    Returns where it was raised, as text: file and line of the innermost frame.
    """
    where = _innermost(traceback_of(error))
    for member in chain_of(error):
        drop_traceback(member)
    return where


def _innermost(trace: TracebackType | None) -> str:
    if trace is None:
        return "unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
