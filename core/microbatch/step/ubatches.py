"""The ubatches of one step: the parts with their contexts, states and times, as a schedule runs them.

Invariant: `store` accounts each ubatch once; the result is given out only when every ubatch was stored. May
be called from several threads, each with contexts of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from microbatch.cutting.cut import cut
from microbatch.cutting.slices import BatchShape, UBatchSlice
from microbatch.gathering.run_parts import Arguments, Call, Parts
from microbatch.options.raised import note
from microbatch.schedules.step import Queue
from microbatch.step.outcome import Outcome
from microbatch.step.progress import StepCount
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import Runtime
from microbatch.turns.state import UBatchState


class Running(Struct, frozen=True):
    """What the ubatches of a step are run with."""

    parts: Parts
    """Where their rows come from and go."""
    call: Call
    """The layers around the function."""
    outcome: Outcome
    """The record of the step."""
    runtime: Runtime
    """The seam for time and gates."""
    count: StepCount | None = None
    """Is told of each ubatch that was stored; None for nobody to tell."""


class Ubatches:
    """What a schedule loads, computes and stores."""

    queue: Queue | None = None
    """Where a schedule takes them from, where they are not all made beforehand."""

    __slots__ = (
        "_call",
        "_clock",
        "_count",
        "_outcome",
        "_parts",
        "_runtime",
        "_seconds",
        "_started",
        "contexts",
        "make_room",
    )

    def __init__(self, running: Running, *, made: bool = True) -> None:
        """`made` is for contexts that are all made beforehand."""
        parts, runtime, outcome = running.parts, running.runtime, running.outcome
        real = None if parts.cut.unpadded is None else parts.cut.real_tokens
        if real is not None:
            real = (*real, *[0] * (len(parts.calls) - len(real)))  # dummies have none
        self.contexts = contexts_for(parts.calls, runtime, real) if made else []
        self.make_room = parts.make_room
        """What a schedule may do where memory runs out outside of the function."""
        self._parts = parts
        self._call = running.call
        self._runtime = runtime
        self._clock = runtime.monotonic
        self._count = running.count
        self._started: dict[int, float] | list[float] = [0.0] * len(parts.calls) if made else {}
        self._outcome = outcome
        self._seconds = outcome.seconds = [0.0] * len(parts.cut.slices) if made else []

    def tell(self) -> None:
        """The step is over; all that is to be recorded of it was when it came."""

    def load(self, context: UBatchContext) -> Arguments:
        """The arguments of one ubatch, as views where the framework can."""
        index = context.ubatch_id
        self._started[index] = self._clock()
        context.advance(UBatchState.PREPARING)
        try:
            return self._parts.load(index)
        except Exception as error:
            note(error, "while its part of the inputs was cut out, before the function was called")
            raise

    def compute(self, context: UBatchContext, arguments: Arguments) -> Any:
        """Call the function on the part; in smaller ones if memory runs out."""
        context.advance(UBatchState.EXECUTING)
        tokens = context.slice_info.token_slice
        return self._call(*arguments, tokens.stop - tokens.start)

    def store(self, context: UBatchContext, outputs: Any) -> None:
        """Write the outputs to their rows of the result."""
        index = context.ubatch_id
        self._parts.store(index, outputs)
        context.advance(UBatchState.COMPLETED)
        if index >= len(self._seconds):
            return  # a dummy, of which nobody but other ranks hears
        self._seconds[index] = self._clock() - self._started[index]
        if self._count is not None:
            self._count.add(self._requests_ended(index))

    def on_fewer(self, threads: int, reason: str) -> None:
        """Note that the schedule had no more than `threads`, and why."""
        self._outcome.threads, self._outcome.why_fewer = threads, reason

    def replayed(self) -> None:
        """Note that a graph did them all at once."""
        for context in self.contexts:
            for state in (UBatchState.PREPARING, UBatchState.EXECUTING, UBatchState.COMPLETED):
                context.advance(state)
        if self._count is not None:
            self._count.add(self._parts.num_requests)

    def _requests_ended(self, index: int) -> int:
        """Requests that end in a ubatch: one that goes on in the next is counted there."""
        slices, following = self._parts.cut.real, index + 1
        first = slices[index].req_slice.start if index else 0
        last = slices[following].req_slice.start if following < len(slices) else self._parts.num_requests
        return int(last - first)

    def all_stored(self) -> bool:
        """Whether every row is in the result."""
        return all(context.state is UBatchState.COMPLETED for context in self.contexts)

    def unfinished(self) -> Iterable[UBatchContext]:
        """New contexts for the ubatches that were not stored; nothing of their first attempt is kept."""
        for index, context in enumerate(self.contexts):
            if context.state is not UBatchState.COMPLETED:
                self.contexts[index] = UBatchContext(
                    context.slice_info, index, len(self.contexts), context.runtime, context.num_real_tokens
                )
        return [context for context in self.contexts if context.state is not UBatchState.COMPLETED]


def contexts_for(
    slices: Sequence[UBatchSlice], runtime: Runtime, real_tokens: Sequence[int] | None = None
) -> list[UBatchContext]:
    """One context per slice, numbered in row order; `real_tokens` of each where the step is padded."""
    count, made = len(slices), list[UBatchContext]()
    for index, piece in enumerate(slices):
        real = None if real_tokens is None else real_tokens[index]
        made.append(UBatchContext(piece, index, count, runtime, real))
    return made


def make_ubatch_contexts(num_ubatches: int, num_tokens: int, num_reqs: int) -> list[UBatchContext]:
    """One context per ubatch of `num_tokens` tokens and `num_reqs` requests, cut evenly.

    Requests are taken as equally long. Raises SliceError where that many ubatches cannot be filled, and
    ArgumentTypeError or ArgumentValueError for counts that are not counts.
    """
    shape = BatchShape(num_tokens=num_tokens, num_requests=num_reqs)
    slices = cut(shape, num_ubatches=num_ubatches, splitter="even").slices
    return [UBatchContext(piece, index, len(slices)) for index, piece in enumerate(slices)]
