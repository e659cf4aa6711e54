"""The loop of the project: take a part out, call the function on it, store what it returned; then the result.

Invariant: every part is loaded, called and stored exactly once, or the loop ends with an error and gives no
result. Whoever runs a batch in parts comes here: the engine, recovery for a part that did not fit, the pilot
of a memory guard, `check`, and a step that is captured. They differ in the call, which is a chain of layers
with one signature, and in the order, which is row after row here and a schedule in the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from microbatch.binding.batch import Batch
from microbatch.cutting.slices import Cut
from microbatch.extend.protocols import Backend
from microbatch.gathering.gather import Gather, Outputs
from microbatch.turns.token_offset import begin, put_back, tokens_before

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]
"""Positional and keyword arguments of one call."""
Call = Callable[[tuple[Any, ...], Mapping[str, Any], int], Any]
"""call(args, kwargs, rows) -> outputs: the function, or a layer around it. `rows` are those of the part."""


class Layer(Protocol):
    """A layer around the function that may run a part in smaller parts."""

    def __call__(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int, nested: bool = True, /
    ) -> Any:
        """The outputs; `nested` says that they go into the gather of an outer layer or of the step."""


class Parts:
    """The parts of one batch, by their number in the cut, and the place where their outputs are put together.

    Different parts may be loaded and stored by different threads at the same time.
    """

    __slots__ = ("_batch", "calls", "cut", "make_room", "num_requests", "result", "store")

    def __init__(self, batch: Batch, cut: Cut, backend: Backend, outputs: Outputs) -> None:
        self.cut = cut
        self.calls = cut.slices
        """The rows that each call of the function is given."""
        self.make_room = outputs.room_maker(backend)
        """make_room(again): for whoever runs out of memory with a part."""
        self.num_requests = batch.shape.num_requests
        self._batch = batch if cut.permutation is None else batch.permuted(cut.permutation, backend)
        gather = Gather(batch, cut, backend, outputs)
        self.store = gather.store
        """store(index, outputs): put the outputs of one part into their rows of the result."""
        self.result = gather.result
        """result(): the outputs of the whole batch; every part must have been stored."""

    def load(self, index: int) -> Arguments:
        """The arguments of one part, as views where the framework gives views."""
        cut = self.cut
        return self._batch.part(cut.slices[index], None if cut.trims is None else cut.trims[index], index)


Order = Callable[[Parts, Call], None]
"""Runs every part once, in an order and in threads of its choice."""


def run_parts(parts: Parts, call: Call, order: Order | None = None) -> Any:
    """The outputs of `call` on all parts, put together; raises what `call` raised."""
    (order or in_row_order)(parts, call)
    return parts.result()


def in_row_order(parts: Parts, call: Call) -> None:
    """One part after another in the calling thread; the first error ends it."""
    former = tokens_before()
    try:
        for index, piece in enumerate(parts.calls):
            args, kwargs = parts.load(index)
            begin(former, piece.token_slice.start)
            parts.store(index, call(args, kwargs, piece.num_tokens))
    finally:
        put_back(former)
