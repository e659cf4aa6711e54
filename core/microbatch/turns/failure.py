"""Errors of a step: the first one wins, the others are told.

Invariant: what the caller gets is the exception object that the function raised, with its own traceback,
cause and context; only notes are added. An interrupt outranks other errors, else Ctrl-C during a failing step
would be lost. Recorded errors are let go when the step ends, however it ends, so that no reference cycle
keeps the arrays of a failed step: the frames of an error lead to the record of it.

Whoever makes a record lets it go by `finally: failures.records = None`. Rejected: a method for that. Python
looks for signals when it enters a function and after each call, never before a store, so no second interrupt
can come between the end of the step and this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct, field

from microbatch.errors import BarrierBrokenError
from microbatch.options.raised import Harmless, chain_of, described, is_a, note
from microbatch.turns.context import UBatchContext
from microbatch.turns.state import UBatchCancelled

Record = tuple[UBatchContext | None, BaseException]
"""Which ubatch raised what; None where the error is not of a ubatch."""


class Failures(Struct, eq=False):
    """Collects what the ubatches of one step raise, from any thread; appending to a deque needs no lock."""

    records: deque[Record] | None = field(default_factory=deque)
    """What was raised, in that order; None when the step is over, for ubatches that outlive it."""

    def record(self, context: UBatchContext | None, error: BaseException) -> None:
        """Keep `error`, and note that its ubatch failed. Pass None for an error outside any ubatch."""
        if context is not None:
            context.fail()
        records = self.records
        if records is not None and not any(known is error for _, known in tuple(records)):
            records.append((context, error))

    def any(self) -> bool:
        """Whether anything was recorded, or the step is over: what is left of it has nothing more to do."""
        return self.records is None or bool(self.records)

    def raise_first(self) -> None:
        """Raise what came first, if anything did; later errors are in its notes and its `ubatch_errors`."""
        if not self.records:
            return
        records = list(self.records)
        self.records.clear()
        context, first = _leading(records)
        if context is not None:
            note(first, f"in {_named(context)}")
        _attach(first, records)
        del records, context
        try:
            raise first
        finally:
            del first  # a frame that keeps the error it raises is a reference cycle


def _leading(records: Sequence[Record]) -> Record:
    """The error for the caller: the first interrupt, else the first error that is not merely an unwinding."""
    causes = [record for record in records if not is_a(record[1], UBatchCancelled)]
    for record in causes:
        if is_a(record[1], KeyboardInterrupt, SystemExit):
            return record
    if causes:
        return causes[0]
    return None, BarrierBrokenError("the step was cancelled and no ubatch said why; run it again")


def _attach(first: BaseException, records: Sequence[Record]) -> None:
    """Tell of the other errors in notes of `first`, and keep them in its `ubatch_errors`.

    Only told of are those that lead back to `first`, which would be a reference cycle: what was raised while
    it was dealt with, and a second interrupt, which may strike in a frame that holds the first error.
    """
    followed = []
    for context, error in records:
        if error is first or is_a(error, UBatchCancelled):
            continue
        second = is_a(first, KeyboardInterrupt) and is_a(error, KeyboardInterrupt)
        if not second and all(each is not first for each in chain_of(error)):
            followed.append(error)
        where = "the caller" if context is None else _named(context)
        note(first, f"{where} also raised {described(error)}")
    if followed:
        with Harmless():  # an exception class with slots, or one that refuses
            first.ubatch_errors = tuple(followed)  # type: ignore[attr-defined]


def _named(context: UBatchContext) -> str:
    tokens = context.slice_info.token_slice
    return f"ubatch {context.ubatch_id} of {context.num_ubatches} (tokens {tokens.start}:{tokens.stop})"
