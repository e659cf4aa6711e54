"""The ubatches of one step: take a part out, call the function, put its outputs back, keep the times.

Invariant: `store` accounts each ubatch once; the result is given out only when every ubatch was stored. May be
called from several threads, each with contexts of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microbatch.cutting.cut import Cut, UBatchSlice
from microbatch.gathering.gather import Gather
from microbatch.step.memory_guard import Watch
from microbatch.step.planned import Setting
from microbatch.step.recovery import Recovery
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import Runtime
from microbatch.turns.state import UBatchState

__all__ = ["Progress", "Ubatches", "whole_cut"]

Progress = Callable[[int, int], None]
"""progress(requests done, requests in all), called after each ubatch from the thread that ran it."""


class Ubatches:
    """What a schedule loads, computes and stores."""

    def __init__(
        self,
        recovery: Recovery,
        setting: Setting,
        gather: Gather,
        cut: Cut,
        runtime: Runtime,
        progress: Progress | None = None,
        watch: Watch | None = None,
    ) -> None:
        batch = setting.batch
        self.cut = cut
        self.contexts = contexts_for(cut.slices, runtime)
        self.recovery = recovery
        self.watch = watch
        self._batch = batch if cut.permutation is None else batch.permuted(cut.permutation, setting.backend)
        self._gather = gather
        self._clock = runtime.monotonic
        self._progress = progress
        self._started = [0.0] * len(cut.slices)
        self._seconds = [0.0] * len(cut.slices)
        self._done: list[int] = []

    def load(self, context: UBatchContext) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of one ubatch, as views where the framework can."""
        index = context.ubatch_id
        self._started[index] = self._clock()
        context.advance(UBatchState.PREPARING)
        trims = self.cut.trims
        try:
            return self._batch.part(context.slice_info, None if trims is None else trims[index], index)
        except Exception as error:
            error.add_note("while its part of the inputs was cut out, before the function was called")
            raise

    def compute(self, context: UBatchContext, inputs: tuple[tuple[Any, ...], dict[str, Any]]) -> Any:
        """Call the function on the part; in smaller ones if memory runs out."""
        context.advance(UBatchState.EXECUTING)
        args, kwargs = inputs
        watch = self.watch
        if watch is not None and watch.pilot:
            return self.recovery.pilot(args, kwargs, watch, nested=True)
        return self.recovery.call(args, kwargs, nested=True)

    def store(self, context: UBatchContext, outputs: Any) -> None:
        """Write the outputs to their rows of the result."""
        index = context.ubatch_id
        self._gather.store(index, outputs)
        context.advance(UBatchState.COMPLETED)
        self._seconds[index] = self._clock() - self._started[index]
        self._done.append(context.slice_info.num_reqs)
        if self._progress is not None:
            self._progress(sum(self._done), self._batch.shape.num_requests)

    def replayed(self) -> None:
        """Note that a graph did them all at once."""
        for context in self.contexts:
            for state in (UBatchState.PREPARING, UBatchState.EXECUTING, UBatchState.COMPLETED):
                context.advance(state)
        if self._progress is not None:
            total = self._batch.shape.num_requests
            self._progress(total, total)

    def alone(self) -> list[UBatchContext]:
        """New contexts for the ubatches that did not finish, to run one at a time: siblings held the memory that
        one of them needed. Nothing of their first attempt is kept; the finished ones are."""
        self.recovery.start_again()
        for index, context in enumerate(self.contexts):
            if context.state is not UBatchState.COMPLETED:
                made = UBatchContext(context.slice_info, index, len(self.contexts), context.runtime)
                self.contexts[index] = made
        return [context for context in self.contexts if context.state is not UBatchState.COMPLETED]

    def result(self) -> Any:
        """The outputs of all ubatches put together, in the caller's order."""
        return self._gather.result()

    def seconds(self) -> tuple[float, ...]:
        """Wall time of each ubatch in row order; 0 for one that did not finish."""
        return tuple(self._seconds)


def contexts_for(slices: tuple[UBatchSlice, ...], runtime: Runtime) -> list[UBatchContext]:
    """One context per slice, numbered in row order."""
    count = len(slices)
    return [UBatchContext(piece, index, count, runtime) for index, piece in enumerate(slices)]


def whole_cut(setting: Setting) -> Cut:
    """The cut with one part, for a step that is not split and still writes into the caller's `out`."""
    shape = setting.batch.shape
    piece = UBatchSlice.from_range(0, shape.num_tokens, 0, shape.num_requests)
    return Cut(slices=(piece,), permutation=None, trims=None, padding_avoided=0)


def make_ubatch_contexts(num_ubatches: int, num_tokens: int, num_reqs: int) -> list[UBatchContext]:
    """One context per ubatch of `num_tokens` tokens and `num_reqs` requests, cut evenly.

    Requests are taken as equally long. Raises SliceError where that many ubatches cannot be filled, and
    ArgumentTypeError or ArgumentValueError for counts that are not counts.
    """
    from microbatch.cutting.cut import (  # here, since slicing imports half of the batch package
        BatchShape,
        cut,
    )

    shape = BatchShape(num_tokens=num_tokens, num_requests=num_reqs)
    slices = cut(shape, num_ubatches=num_ubatches, splitter="even").slices
    return [UBatchContext(piece, index, len(slices)) for index, piece in enumerate(slices)]
