"""The parts of one rank, and calls beyond them that other ranks count on.

Invariant: the result is made of the parts alone. A dummy is the last part once more, on copies: a function
that writes into its arguments would else write into the same rows twice. A batch that is one part is called
with its very arguments, and its result is what the function returned, as if it had not been wrapped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from microbatch.binding.batch import Batch
from microbatch.cutting.slices import Cut
from microbatch.extend.protocols import Backend
from microbatch.gathering.gather import Outputs
from microbatch.gathering.run_parts import Arguments, Parts


class WithDummies(Parts):
    """Parts whose last numbers are dummies."""

    __slots__ = ("_alone", "_backend")

    def __init__(self, batch: Batch, cut: Cut, backend: Backend, outputs: Outputs, *, dummies: int) -> None:
        super().__init__(batch, cut, backend, outputs)
        parts = len(cut.slices)
        self.calls = (*cut.slices, *[cut.slices[-1]] * dummies)
        self._alone = parts == 1
        self._backend = backend
        if self._alone and outputs.out is None:
            returned = list[Any]()
            self.store, self.result = partial(_store_real, parts, _appending(returned)), returned.pop
        else:
            self.store = partial(_store_real, parts, self.store)

    def load(self, index: int) -> Arguments:
        """The arguments of one part or dummy."""
        slices, trims = self.cut.slices, self.cut.trims
        if self._alone and (index == 0 or self._batch.shape.num_tokens == 0):
            return self._batch.arguments()
        if index < len(slices):
            return super().load(index)
        return self._batch.copied_part(slices[-1], None if trims is None else trims[-1], index, self._backend)


def _store_real(parts: int, store: Callable[[int, Any], None], index: int, output: Any) -> None:
    """Drop what a dummy returned. No method: the parts of a step must not be a cycle."""
    if index < parts:
        store(index, output)


def _appending(returned: list[Any]) -> Callable[[int, Any], None]:
    return lambda index, output: returned.append(output)
