"""A whole step of ubatches that take turns, as something that can be captured.

Invariant: a graph of it holds the launches of all ubatches with the waits between their streams, so a replay
overlaps what the step overlaps, without threads and hand-offs. It is captured only where shapes alone say
what each ubatch is given; offsets, lengths and packing are values, which a replay would not look at again.
The threads that carry the ubatches are those of the wrapper's pool: they ran the same step just before, so
what a framework keeps for each thread exists, and they end after the graphs do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from microbatch.binding.batch import Batch
from microbatch.cutting.cut import cut
from microbatch.cutting.slices import Cut
from microbatch.gathering.gather import Outputs
from microbatch.gathering.run_parts import Call, Parts, run_parts
from microbatch.graphs.captured_work import CapturedWork
from microbatch.options.fields import UBatchConfig
from microbatch.step.in_parts import ScheduleRunner
from microbatch.step.outcome import Outcome
from microbatch.step.planned import Planned
from microbatch.step.ubatches import Ubatches


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedStep:
    """One planned step of a wrapper."""

    function: Callable[..., Any]
    """What the ubatches call, with no layer around: running out of memory in a capture ends the capture."""
    planned: Planned
    """The step."""
    config: UBatchConfig
    """Driver, and the numbers of rows of a ubatch that are captured."""
    runner: ScheduleRunner
    """Threads and schedules."""

    def work(self, plain: Callable[[], Any], *, given_result: bool) -> CapturedWork:
        """What to look up, replay or capture; `plain` runs the step as it is, `given_result`: into an
        `out`."""
        made = self._planned_cut()
        parts = len(made.slices)
        edges = tuple((piece.token_slice.start, piece.token_slice.stop) for piece in made.slices)
        even = not self.planned.plan.fixed and max(_lengths(edges)) - min(_lengths(edges)) <= 1
        return CapturedWork(
            plain=lambda *args, **kwargs: plain(),
            captured=self,
            sizes=tuple(parts * size for size in self.config.graph_sizes or ()) if even else (),
            cut=edges,
            padded_cut=("even", parts),
            ubatches=parts,
            refused=self._refused(given_result=given_result),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for these arguments, whose rows may be more than were planned."""
        binder = self.planned.cuttable.parts()
        batch = binder.bind(args, kwargs)
        outputs = Outputs(layout=binder.layout, proven=binder.outputs)
        parts = Parts(batch, self._cut_of(batch), binder.device.backend, outputs)
        return run_parts(parts, self._call, replace(self, planned=replace(self.planned, batch=batch))._order)

    def _call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int) -> Any:
        return self.function(*args, **kwargs)

    def _order(self, parts: Parts, call: Call) -> None:
        ubatches = Ubatches(parts, call, Outcome(), self.runner.runtime, None)
        self.runner.run(self.planned, ubatches, ubatches.contexts)

    def _planned_cut(self) -> Cut:
        cut = self.planned.plan.cut
        assert cut is not None, "a step that is not cut has nothing that overlaps"
        return cut

    def _cut_of(self, batch: Batch) -> Cut:
        planned = self._planned_cut()
        if batch.shape.num_tokens == self.planned.rows:
            return planned
        return cut(batch.shape, splitter="even", num_ubatches=len(planned.slices))

    def _refused(self, *, given_result: bool) -> str:
        """Why the step cannot be captured; empty where it may be."""
        planned, device = self._planned_cut(), self.planned.device
        if given_result:
            return "the result goes into the array given as out="
        if planned.permutation is not None or planned.trims is not None or not self.planned.batch.by_shape:
            return "what each ubatch is given depends on values (lengths, offsets), not on shapes alone"
        if self.config.driver == "threads" and not device.captures_threads:
            return f"a capture of {device.backend.name!r} is of one thread; use driver='greenlets'"
        return ""


def _lengths(edges: Sequence[tuple[int, int]]) -> list[int]:
    return [stop - start for start, stop in edges]
