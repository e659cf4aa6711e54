"""Put the outputs of the ubatches together.

Invariant: each row of the result is written exactly once, by the ubatch that owns it, straight into one
result allocated at the first store; nothing of an output is guessed, and no dtype changes. `store` may run in
any thread. What the threads must agree on (the output's structure) is published by an atomic `setdefault`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

from msgspec import Struct

from microbatch.arrays.looks import is_array
from microbatch.arrays.trees import TreeSpec, leaf_paths, output_name
from microbatch.binding.batch import Batch
from microbatch.binding.paths import Declared, declared_rules, flatten_by_layout
from microbatch.binding.proven import ProvenOutputs
from microbatch.binding.rules import Layout
from microbatch.cutting.slices import Cut
from microbatch.errors import OutputMismatchError
from microbatch.extend.protocols import Backend
from microbatch.gathering.choose_sink import Sinks
from microbatch.gathering.given_leaf import SharedByLeaves
from microbatch.gathering.given_out import Destination
from microbatch.gathering.out_memory import OutMemory
from microbatch.gathering.row_sink import MakeRoom, Sink
from microbatch.turns.one_at_a_time import OneAtATime
from microbatch.turns.runtime import Runtime, default_runtime


class Agreed(Struct, frozen=True):
    """What all ubatches of a step return."""

    first: int
    """The ubatch it was seen at."""
    spec: TreeSpec | None
    """Structure; None when the output is one array."""
    sinks: tuple[Sink, ...]
    """One per leaf."""


class Outputs(Struct, frozen=True, kw_only=True):
    """What was said of the outputs before the first one came."""

    layout: Layout | None = None
    """The rules of the outputs; None infers them from sizes."""
    out: object | None = None
    """The caller's place for the result; None makes one."""
    nested: bool = False
    """Whether the result is stored into another gather, as the output of one part that ran in several."""
    proven: ProvenOutputs | None = None
    """What the outputs were shown to be; None takes the layout and their sizes."""
    names: Sequence[str] = ()
    """Parameter names of the function, for messages about inputs that `out` overlaps."""
    runtime: Runtime | None = None
    """The seam for threads, which may have to wait where `out` takes one at a time; None for the real one."""
    make_room: MakeRoom | None = None
    """make_room(again): called where memory ran out, `again` where a second try failed; None gives back what
    the backend has cached."""

    def room_maker(self, backend: Backend) -> MakeRoom:
        """What makes room on `backend`."""
        return self.make_room or (lambda again: backend.reclaim())


class Gather:
    """The outputs of one step. `store` each part once, then ask for the `result` once."""

    def __init__(self, batch: Batch, cut: Cut, backend: Backend, outputs: Outputs) -> None:
        layout = outputs.layout
        self._sinks = Sinks(
            batch,
            cut,
            backend,
            outputs.room_maker(backend),
            nested=outputs.nested,
            proven=outputs.proven is not None,
        )
        self._layout = layout if layout is not None and layout.outputs else None
        self._proven = outputs.proven
        self._destination: Destination | None = None
        if outputs.out is not None:
            memory, runtime = OutMemory(batch, outputs.names), outputs.runtime or default_runtime()
            around = SharedByLeaves(backend=backend, memory=memory, line=OneAtATime(runtime))
            self._destination = Destination(outputs.out, self._layout, around)
        self._agreed: dict[int, Agreed] = {}
        self._slices = cut.slices
        self._stored: list[int] = []

    def store(self, index: int, output: object) -> None:
        """Take the output of ubatch `index` (position in the cut).

        Raises OutputMismatchError if it does not fit its ubatch or the other outputs, ArgumentValueError if
        `out` cannot take it; then nothing of it was written.
        """
        agreed = self._agreed.get(0)
        if agreed is None:
            agreed = self._agreed.setdefault(0, self._agree(index, output))
        if agreed.spec is None:
            agreed.sinks[0].write(index, output)
        else:
            for sink, leaf in zip(agreed.sinks, self._leaves(agreed, index, output), strict=True):
                sink.write(index, leaf)
        self._stored.append(index)

    def result(self) -> object:
        """The output of the whole batch, in the caller's order of rows."""
        assert sorted(self._stored) == list(range(len(self._slices))), f"ubatches stored: {self._stored}"
        agreed, destination = self._agreed[0], self._destination
        if agreed.spec is None and destination is None:
            return agreed.sinks[0].finish()
        leaves = [sink.finish() for sink in agreed.sinks]
        if destination is not None and destination.holds(leaves):
            return destination.out
        return leaves[0] if agreed.spec is None else agreed.spec.unflatten(leaves)

    def _leaves(self, agreed: Agreed, index: int, output: Any) -> list[Any]:
        """The leaves of one output; OutputMismatchError where its structure is not the agreed one."""
        if self._proven is not None:
            try:
                return self._proven.spec.flatten_up_to(output)
            except ValueError:
                pass
        leaves, spec = flatten_by_layout(output, self._layout, "outputs", ())
        if self._proven is not None or spec != agreed.spec:
            raise self._other_structure(agreed, index, spec, output)
        return leaves

    def _agree(self, index: int, output: object) -> Agreed:
        leaves, names, spec = [output], ["output"], None
        declared: Declared | None = None
        proven = self._proven
        if proven is not None:
            spec = None if proven.spec.is_leaf() else proven.spec
            if spec is not None:
                leaves = self._leaves(Agreed(index, spec, ()), index, output)
                names = [output_name(path) for path in leaf_paths(spec)]
            declared = tuple([(rule, True) for rule in proven.rules])
        elif self._layout is not None or not is_array(output):
            leaves, spec = flatten_by_layout(output, self._layout, "outputs", ())
            names = [output_name(path) for path in leaf_paths(spec)]
            declared = declared_rules(spec, self._layout, "outputs", ())
        given = [None] * len(leaves) if self._destination is None else self._destination.each(spec, names)
        rules = declared or repeat((None, False))
        sinks = tuple(map(self._sinks.make, leaves, repeat(index), rules, names, given))
        if self._destination is not None:
            self._destination.check(sinks, leaves, names)
        return Agreed(index, spec, sinks)

    def _other_structure(
        self, agreed: Agreed, index: int, spec: TreeSpec, output: object
    ) -> OutputMismatchError:
        assert agreed.spec is not None
        return OutputMismatchError(
            f"ubatch {index} returned {'None' if output is None else _structure(spec)} but ubatch "
            f"{agreed.first} returned {_structure(agreed.spec)}; return one structure, or declare the output "
            "collect(), or tokens() for a list with an entry per row"
        )


def _structure(spec: TreeSpec) -> str:
    """A structure for messages: type and keys, or number of entries."""
    if spec.is_leaf():
        return "one leaf"
    kind = spec.type.__name__ if spec.type is not None else "nothing"
    if kind == "dict":
        return f"a dict (keys: {', '.join(map(str, spec.entries()))})"
    return f"a {kind} of {spec.num_children}"
