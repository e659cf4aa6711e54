"""The ubatches of one step: the parts with their contexts, states and times, as a schedule runs them.

Invariant: `store` accounts each ubatch once; the result is given out only when every ubatch was stored. May be
called from several threads, each with contexts of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from microbatch.cutting.cut import cut
from microbatch.cutting.slices import BatchShape, UBatchSlice
from microbatch.gathering.run_parts import Arguments, Call, Parts
from microbatch.step.outcome import Outcome
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import Runtime
from microbatch.turns.state import UBatchState

__all__ = ["Progress", "Ubatches", "contexts_for", "make_ubatch_contexts"]

Progress = Callable[[int, int], None]
"""progress(requests done, requests in all), called after each ubatch from the thread that ran it."""


class Ubatches:
    """What a schedule loads, computes and stores."""

    __slots__ = (
        "_call",
        "_clock",
        "_done",
        "_parts",
        "_progress",
        "_seconds",
        "_started",
        "_total",
        "contexts",
    )

    def __init__(
        self, parts: Parts, call: Call, outcome: Outcome, runtime: Runtime, progress: Progress | None
    ) -> None:
        slices = parts.cut.slices
        self.contexts = contexts_for(slices, runtime)
        self._parts = parts
        self._call = call
        self._clock = runtime.monotonic
        self._progress = progress
        self._started = [0.0] * len(slices)
        self._done: list[int] = []
        self._total = parts.num_requests
        self._seconds = outcome.times_of(len(slices))

    def load(self, context: UBatchContext) -> Arguments:
        """The arguments of one ubatch, as views where the framework can."""
        index = context.ubatch_id
        self._started[index] = self._clock()
        context.state = UBatchState.PREPARING
        try:
            return self._parts.load(index)
        except Exception as error:
            error.add_note("while its part of the inputs was cut out, before the function was called")
            raise

    def compute(self, context: UBatchContext, arguments: Arguments) -> Any:
        """Call the function on the part; in smaller ones if memory runs out."""
        context.state = UBatchState.EXECUTING
        tokens = context.slice_info.token_slice
        return self._call(*arguments, tokens.stop - tokens.start)

    def store(self, context: UBatchContext, outputs: Any) -> None:
        """Write the outputs to their rows of the result."""
        index = context.ubatch_id
        self._parts.store(index, outputs)
        context.state = UBatchState.COMPLETED
        self._seconds[index] = self._clock() - self._started[index]
        if self._progress is not None:
            self._done.append(context.slice_info.num_reqs)
            self._progress(sum(self._done), self._total)

    def replayed(self) -> None:
        """Note that a graph did them all at once."""
        for context in self.contexts:
            context.state = UBatchState.COMPLETED
        if self._progress is not None:
            self._progress(self._total, self._total)

    def unfinished(self) -> list[UBatchContext]:
        """New contexts for the ubatches that were not stored; nothing of their first attempt is kept."""
        for index, context in enumerate(self.contexts):
            if context.state is not UBatchState.COMPLETED:
                made = UBatchContext(context.slice_info, index, len(self.contexts), context.runtime)
                self.contexts[index] = made
        return [context for context in self.contexts if context.state is not UBatchState.COMPLETED]


def contexts_for(slices: Sequence[UBatchSlice], runtime: Runtime) -> list[UBatchContext]:
    """One context per slice, numbered in row order."""
    count = len(slices)
    return [UBatchContext(piece, index, count, runtime) for index, piece in enumerate(slices)]


def make_ubatch_contexts(num_ubatches: int, num_tokens: int, num_reqs: int) -> list[UBatchContext]:
    """One context per ubatch of `num_tokens` tokens and `num_reqs` requests, cut evenly.

    Requests are taken as equally long. Raises SliceError where that many ubatches cannot be filled, and
    ArgumentTypeError or ArgumentValueError for counts that are not counts.
    """
    shape = BatchShape(num_tokens=num_tokens, num_requests=num_reqs)
    slices = cut(shape, num_ubatches=num_ubatches, splitter="even").slices
    return [UBatchContext(piece, index, len(slices)) for index, piece in enumerate(slices)]
