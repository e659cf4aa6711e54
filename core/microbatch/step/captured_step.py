"""A whole step of ubatches that take turns, as something that can be captured.

Invariant: a graph of it holds the launches of all ubatches with the waits between their streams, so a replay
overlaps what the step overlaps, without threads and hand-offs. It is captured only where shapes alone say
where each ubatch is cut; lengths and packing are values, which a replay would not look at again.

So are offsets, unless all requests have as many tokens, as in a batch that decodes. Then each ubatch's
offsets, lengths and computed tokens are worked out inside the graph, from the arrays that each replay fills
anew, into memory of the graph that stays where it is. A step that the caller has padded is captured with its
padding, so that one graph serves all numbers of real rows; the padding is dropped after the replay.

The threads that carry the ubatches are those of the wrapper's pool: they ran the same step just before, so
what a framework keeps for each thread exists, and they end after the graphs do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from microbatch.binding.batch import Batch
from microbatch.binding.padded_batch import PaddedBatch
from microbatch.cutting.cut import cut
from microbatch.cutting.slices import Cut, UBatchSlice
from microbatch.gathering.gather import Outputs
from microbatch.gathering.run_parts import Call, Parts, run_parts
from microbatch.graphs.captured_work import CapturedWork
from microbatch.graphs.key import Fixed
from microbatch.options.fields import UBatchConfig
from microbatch.step.in_parts import ScheduleRunner
from microbatch.step.outcome import Outcome
from microbatch.step.planned import Planned
from microbatch.step.ubatches import Running, Ubatches

KEPT = ("reduce", "collect")
"""Rules of outputs that are made of all parts, so that padding cannot be taken out of them afterwards."""


class CapturedStep(Struct, frozen=True, kw_only=True):
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
        padded, batch = made.unpadded is not None, self.planned.batch
        even = not self.planned.plan.fixed and max(_lengths(edges)) - min(_lengths(edges)) <= 1
        return CapturedWork(
            plain=lambda *args, **kwargs: plain(),
            captured=self,
            sizes=tuple(parts * size for size in self.config.graph_sizes or ()) if even else (),
            cut=edges if batch.query_len is None else (edges, _requests(made), batch.query_len),
            real=batch.shape.num_tokens if padded else None,
            finish=self._real_rows if padded else None,
            padded_cut=("even", parts),
            ubatches=parts,
            refused=self._refused(given_result=given_result),
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The outputs for these arguments, whose rows may be more than were planned."""
        if self._reads_values():
            return self._as_planned(args, kwargs)
        binder = self.planned.cuttable.parts()
        batch = binder.bind(args, kwargs)
        outputs = Outputs(layout=binder.layout, proven=binder.outputs)
        parts = Parts(batch, self._cut_of(batch), binder.device.backend, outputs)
        return run_parts(parts, self._call, replace(self, planned=replace(self.planned, batch=batch))._order)

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of the step; offsets on the host as what a graph is captured with."""
        batch, backend = self.planned.batch, self.planned.backend
        offsets = [(at, leaf) for at, leaf in batch.leaves_of("query_start_loc") if not backend.owns(leaf)]
        if not offsets:
            return batch.arguments()
        leaves = [leaf for leaf, _ in batch.leaf_kinds()]
        for at, leaf in offsets:
            leaves[at] = Fixed(leaf)
        return batch.with_leaves(leaves).arguments()

    def _reads_values(self) -> bool:
        """Whether finding the batch anew would read values, or count padding for rows."""
        return (
            self.planned.batch.shape.query_start_loc is not None or self._planned_cut().unpadded is not None
        )

    def _as_planned(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The outputs for arguments of the very sizes that were planned, padding included."""
        planned = self.planned
        batch = planned.batch.rebound(args, kwargs)
        batch = batch.with_leaves(
            [leaf.value if isinstance(leaf, Fixed) else leaf for leaf, _ in batch.leaf_kinds()]
        )
        if isinstance(batch, PaddedBatch):
            batch = batch.with_padding_as_rows()
        made = Cut(slices=self._planned_cut().slices)
        parts = Parts(batch, made, planned.backend, self._outputs())
        return run_parts(parts, self._call, replace(self, planned=replace(planned, batch=batch))._order)

    def _outputs(self) -> Outputs:
        cuttable = self.planned.cuttable
        return Outputs(layout=cuttable.binder.layout, proven=cuttable.prove().outputs)

    def _real_rows(self, result: Any) -> Any:
        """The rows of a padded step's result that are no padding: those of one part, padded in part."""
        shape = self.planned.batch.shape
        run = UBatchSlice.from_range(0, shape.tokens_to_run, 0, shape.requests_to_run)
        real = UBatchSlice.from_range(0, shape.num_tokens, 0, shape.num_requests)
        whole = Cut(slices=(run,), unpadded=(real,))
        parts = Parts(self.planned.batch, whole, self.planned.backend, self._outputs())
        parts.store(0, result)
        return parts.result()

    def _call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int) -> Any:
        return self.function(*args, **kwargs)

    def _order(self, parts: Parts, call: Call) -> None:
        ubatches = Ubatches(Running(parts, call, Outcome(), self.runner.runtime))
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
        padding = self._why_padding()
        if padding:
            return padding
        if self.config.driver == "threads" and not device.captures_threads:
            return f"a capture of {device.backend.name!r} is of one thread; use driver='greenlets'"
        return ""

    def _why_padding(self) -> str:
        """Why a step that the caller has padded cannot be captured; empty where it may be."""
        made, batch = self._planned_cut(), self.planned.batch
        if made.unpadded is None:
            return ""
        layout = self.planned.cuttable.binder.layout
        kept = () if layout is None else [rule for rule in layout.outputs.values() if rule.kind in KEPT]
        if kept:
            return f"the step is padded, and an output is {kept[0]}"
        length = batch.query_len
        if length is None:
            return ""
        if not all(made.real_tokens):
            return (
                f"ubatch {made.real_tokens.index(0)} is padding alone, and requests are those of real tokens"
            )
        if any(piece.token_slice.start % length for piece in made.slices):
            return f"the step is padded and cut inside requests; cut it with multiple_of={length}"
        return ""


def _requests(made: Cut) -> tuple[tuple[int, int], ...]:
    return tuple((piece.req_slice.start, piece.req_slice.stop) for piece in made.slices)


def _lengths(edges: Sequence[tuple[int, int]]) -> list[int]:
    return [stop - start for start, stop in edges]
