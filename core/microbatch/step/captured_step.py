"""A whole step of ubatches that take turns, as something that can be captured.

Invariant: a graph of it holds the launches of all ubatches with the waits between their streams, so a replay overlaps
what the step overlaps, without threads and hand-offs. It is captured only where shapes alone say what each ubatch is
given; offsets, lengths and packing are values, which a replay would not look at again. The threads that carry the
ubatches are those of the wrapper's pool: they ran the same step just before, so what a framework keeps for each thread
exists, and they end after the graphs do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from microbatch.binding.batch import Batch, Layout, bind
from microbatch.cutting.cut import Cut, cut
from microbatch.extend.abilities import SupportsThreadedCapture
from microbatch.gathering.gather import Gather
from microbatch.graphs.work import Work
from microbatch.options.fields import UBatchConfig
from microbatch.step.planned import Setting
from microbatch.step.recovery import Recovery
from microbatch.step.ubatches import Ubatches
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import Runtime

__all__ = ["Overlapped"]


class Unrecovered(Recovery):
    """Calls the function and nothing else: running out of memory in a capture ends the capture."""

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, nested: bool = False) -> Any:
        """The outputs for these arguments."""
        return self._function(*args, **kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlapped:
    """One planned step of a wrapper."""

    function: Callable[..., Any]
    """What the ubatches call."""
    setting: Setting
    """The step that was planned."""
    layout: Layout | None
    """As given to the wrapper."""
    names: tuple[str, ...]
    """Parameter names."""
    config: UBatchConfig
    """Driver, and the numbers of rows of a ubatch that are captured."""
    runtime: Runtime
    """Where contexts get their gates from."""
    run: Callable[[Setting, Ubatches, list[UBatchContext]], None]
    """Runs the schedule."""

    def work(self, plain: Callable[[], Any], *, given_result: bool) -> Work:
        """What to look up, replay or capture; `plain` is the step as it is, `given_result` says that it has an `out`."""
        made = self._cut()
        parts = len(made.slices)
        edges = tuple((piece.token_slice.start, piece.token_slice.stop) for piece in made.slices)
        even = not self.setting.plan.fixed and max(_lengths(edges)) - min(_lengths(edges)) <= 1
        rows = tuple(parts * size for size in self.config.graph_sizes or ()) if even else ()
        return Work(
            plain=lambda *args, **kwargs: plain(),
            captured=self,
            sizes=rows,
            cut=edges,
            padded_cut=("even", parts),
            ubatches=parts,
            refused=self._refused(given_result=given_result),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for these arguments, whose rows may be more than were planned."""
        backend = self.setting.backend
        batch = bind(self.layout, args, dict(kwargs), backend=backend, names=self.names)
        pieces = self._cut_of(batch)
        recovery = Unrecovered(self.function, backend, self.layout, self.names)
        gather = Gather(batch, pieces, self.layout, backend)
        setting = replace(self.setting, batch=batch)
        ubatches = Ubatches(recovery, setting, gather, pieces, self.runtime)
        self.run(setting, ubatches, ubatches.contexts)
        return ubatches.result()

    def _cut(self) -> Cut:
        made = self.setting.plan.cut
        assert made is not None, "a step that is not cut has nothing that overlaps"
        return made

    def _cut_of(self, batch: Batch) -> Cut:
        planned = self._cut()
        if batch.shape.num_tokens == self.setting.batch.shape.num_tokens:
            return planned
        return cut(batch.shape, splitter="even", num_ubatches=len(planned.slices))

    def _refused(self, *, given_result: bool) -> str:
        planned, backend = self._cut(), self.setting.backend
        if given_result:
            return "the result goes into the array given as out="
        if planned.permutation is not None or planned.trims is not None or not self.setting.batch.by_shape:
            return "what each ubatch is given depends on values (lengths, offsets), not on shapes alone"
        threads = isinstance(backend, SupportsThreadedCapture) and backend.captures_threads
        if self.config.driver == "threads" and not threads:
            return f"a capture of {backend.name!r} is of one thread; use driver='greenlets'"
        return ""


def _lengths(edges: Sequence[tuple[int, int]]) -> list[int]:
    return [stop - start for start, stop in edges]
