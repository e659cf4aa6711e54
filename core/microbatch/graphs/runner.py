"""Replay a call where its graph is known, capture it where it may be, and run it as it is otherwise.

Invariant: the result is that of the plain call. A graph is used for a number of rows only after its result
for those rows equalled the plain call's, compared once: that refuses functions that mix rows (padding would
change them), draw random numbers, or branch on the host. Whatever goes wrong in a capture, the plain result
is returned and the reason kept. Graphs share one pool where the backend has one, so replays follow each
other: each waits, on the device, for the event after the one before; a call during another runs as it is.

What is captured is a `CapturedWork`: a call of the function where ubatches follow each other (one graph
serves all ubatches of one size), the whole step where they overlap (the graph is the overlap, and its key
holds every size).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from microbatch.arrays.comparison import Comparison
from microbatch.arrays.looks import is_array
from microbatch.arrays.memory import result_bytes
from microbatch.arrays.trees import flatten
from microbatch.extend.device import Device, meaning_of
from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind
from microbatch.graphs.cache import CapturedGraph, GraphCache
from microbatch.graphs.captured_work import CapturedWork, Replays
from microbatch.graphs.key import GraphKey, describe
from microbatch.graphs.padding import bucket_of, fill, outputs_of, resized
from microbatch.options.raised import Harmless, name_of, text_of
from microbatch.turns.at_most_one import AtMostOne

BUDGET_SHARE = 4
"""Graphs may keep this part (a quarter) of what the device has for them and for everything else."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call that may be replayed."""

    key: GraphKey
    """What it depends on."""
    leaves: list[Any]
    """Its arguments."""
    rows: int | None
    """Rows of its arrays; None where they differ, so that nothing may be padded."""
    real: int | None = None
    """Rows that are no padding, where the caller has padded the batch."""

    @property
    def shown(self) -> Hashable:
        """What a graph has to be compared with the plain call for, once for each."""
        return self.rows, self.real

    def of_rows(self, rows: int) -> Asked:
        """The same arguments, padded or cut to other rows."""
        return Asked(self.key.of_rows(rows), self.leaves, rows)


class Graphs:
    """The captured calls and steps of one function. `sizes` are rows of a ubatch, in increasing order.

    `budget` in bytes; None takes a share of what is usable. `uniform` says that all arrays are cut along axis
    0, `modes()` what of the function itself decides which work it launches (whether a module trains).
    """

    def __init__(
        self,
        function: Callable[..., Any],
        sizes: Sequence[int] | None = None,
        *,
        uniform: bool = True,
        budget: int | None = None,
        modes: Callable[[], Hashable] = lambda: None,
    ) -> None:
        self.function = function
        self._modes = modes
        self.sizes = tuple(sizes or ())
        self.uniform = uniform
        self.cache = GraphCache(self._drain)
        self._budget = budget
        self._mixes = ""
        self._families: set[GraphKey] = set()
        self._last: Any = None
        self._pools: dict[str, object | None] = {}
        self._calls = AtMostOne()

    def call(
        self, step: Replays, work: CapturedWork, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """The outputs for these arguments; `step` counts what becomes of the call."""
        if work.refused:
            return step.plain(work, args, kwargs, work.refused)
        return self._calls.run(
            partial(self._alone, step, work, args, kwargs),
            partial(step.plain, work, args, kwargs, "another call is replaying"),
        )

    def clear(self) -> None:
        """Give the memory of all graphs back."""
        self.cache.clear()
        self._families.clear()

    def _alone(
        self, step: Replays, work: CapturedWork, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """The outputs, while no other call replays; memory of all graphs is given back where it runs out."""
        try:
            return self._call(step, work, args, kwargs)
        except Exception as error:
            if meaning_of(step.device.backend, error) is FailureKind.OOM:
                self.clear()
            raise

    def _call(
        self, step: Replays, work: CapturedWork, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        asked = self._asked(work, step.device, *flatten((args, dict(kwargs))))
        if isinstance(asked, str):
            return step.plain(work, args, kwargs, asked)
        key = asked.key
        family = key.of_rows(None)
        if self._padded(work, key) and family not in self._families:
            self._families.add(family)
            self._capture_all(step, work, asked)
        reason = self.cache.refused(key)
        if reason:
            return step.plain(work, args, kwargs, reason)
        graph = self.cache.find(key)
        if graph is not None and asked.shown in graph.rows:
            step.hits += work.ubatches
            return self._replay(step.device.backend, graph, work, asked)
        plain = step.plain(work, args, kwargs, step.note)
        if graph is None:
            graph = self._capture(step, work, asked)
        if graph is not None:
            self._check(step, graph, work, asked, plain)
        return plain

    def _asked(self, work: CapturedWork, device: Device, leaves: list[Any], spec: Any) -> Asked | str:
        """The call as it is looked up, or why it is not replayed."""
        key = describe(spec, leaves, device, uniform=self.uniform, modes=self._modes())
        if isinstance(key, str):
            return key
        if key.rows == 0:
            return "there are no rows"
        if key.rows is None or not self._padded(work, key):
            return Asked(replace(key, cut=work.cut), leaves, key.rows, work.real)
        bucket = bucket_of(key.rows, work.sizes)
        if bucket is None:
            return f"{key.rows} rows are above the largest captured size of {work.sizes[-1]}"
        return Asked(replace(key, rows=bucket, cut=work.padded_cut), leaves, key.rows)

    def _padded(self, work: CapturedWork, key: GraphKey) -> bool:
        """Whether rows are rounded up to a captured size."""
        return bool(work.sizes) and not self._mixes and key.rows is not None

    def _capture_all(self, step: Replays, work: CapturedWork, asked: Asked) -> None:
        """All sizes, the largest first, so that the smaller ones find room in the pool it made."""
        for size in sorted(work.sizes, reverse=True):
            sized = asked.of_rows(size)
            if self.cache.find(sized.key) is None and self.cache.refused(sized.key) is None:
                self._capture(step, work, sized)

    def _capture(self, step: Replays, work: CapturedWork, asked: Asked) -> CapturedGraph | None:
        """The graph for `asked`, kept; None where it could not be made."""
        backend = step.device.backend
        try:
            graph = self._captured(step.device, work, asked)
        except Exception as error:
            kind = meaning_of(backend, error)
            if kind is FailureKind.DEAD:
                raise
            if kind is FailureKind.OOM:
                self.cache.clear()
            reason = _why_not(step.device, error)
        else:
            step.captures += 1
            return graph if self.cache.keep(asked.key, graph, self._bytes(backend)) else None
        self.cache.refuse(asked.key, reason)
        step.note = reason
        return None

    def _captured(self, device: Device, work: CapturedWork, asked: Asked) -> CapturedGraph:
        backend, graphs = device.backend, device.graphs
        assert graphs is not None, "a call comes here only where the backend can capture"
        static = resized(asked.leaves, asked.key.rows, backend)
        args, kwargs = asked.key.spec.unflatten(static)
        if backend.name not in self._pools:
            self._pools[backend.name] = graphs.graph_pool()
        self._wait(backend)
        graph, output = graphs.capture(lambda: work.captured(*args, **kwargs), pool=self._pools[backend.name])
        outputs, spec = flatten(output)
        return CapturedGraph(
            graph, static, outputs, spec, graph.bytes_held() + result_bytes((static, outputs))
        )

    def _check(
        self, step: Replays, graph: CapturedGraph, work: CapturedWork, asked: Asked, plain: Any
    ) -> None:
        """Allow `graph` for these rows if it gives what the plain call gave."""
        expected, spec = flatten(plain)
        padded = asked.rows is not None and asked.rows != asked.key.rows
        different = "has another structure"
        if spec == graph.spec:
            graph.rows[asked.shown] = tuple(
                padded and is_array(leaf) and len(leaf.shape) > 0 and leaf.shape[0] == asked.key.rows
                for leaf in graph.outputs
            )
            found = self._replay(step.device.backend, graph, work, asked)
            step.device.backend.current_stream().synchronize()
            differences = Comparison(spec, expected).differences(found, "a replayed graph")
            if not differences:
                return
            different = str(differences[0])
        graph.rows.pop(asked.shown, None)
        if padded:
            self._mixes = f"padding rows changes the result, so sizes are not rounded: {different}"
            step.note = self._mixes
        else:
            self._drain()
            self.cache.refuse(asked.key, f"a replay differs from the plain call: {different}")
            step.note = self.cache.refused(asked.key) or ""

    def _replay(self, backend: Backend, graph: CapturedGraph, work: CapturedWork, asked: Asked) -> Any:
        self._wait(backend)
        fill(graph.inputs, asked.leaves, backend)
        graph.graph.replay()
        result = outputs_of(graph.outputs, graph.rows[asked.shown], asked.rows, backend)
        if self._last is None:
            self._last = backend.event()
        self._last.record(backend.current_stream())
        outputs = graph.spec.unflatten(result)
        return outputs if work.finish is None else work.finish(outputs)

    def _wait(self, backend: Backend) -> None:
        """Later work of the current stream comes after the last replay."""
        if self._last is not None:
            backend.current_stream().wait(self._last)

    def _drain(self) -> None:
        if self._last is not None:
            self._last.synchronize()

    def _bytes(self, backend: Backend) -> int:
        """Bytes that all graphs together may keep."""
        if self._budget is not None:
            return self._budget
        return (backend.memory().usable + self.cache.held) // BUDGET_SHARE


def _why_not(device: Device, error: Exception) -> str:
    """Whether the work cannot be captured at all, or the function failed only while it was captured."""
    refused = False
    with Harmless():
        refused = device.graphs is not None and device.graphs.capture_refused(error)
    why = "this work cannot be captured" if refused else "the function raised while it was captured"
    return f"capturing failed, as {why}: {name_of(error)}: {text_of(error)[:200]}"
