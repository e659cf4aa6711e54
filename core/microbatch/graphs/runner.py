"""Replay a call where its graph is known, capture it where it may be, and run it as it is otherwise.

Invariant: the result is that of the plain call. A graph is used for a number of rows only after its result for those
rows equalled the plain call's, compared once: that refuses functions that mix rows (padding would change them), draw
random numbers, or branch on the host. Whatever goes wrong in a capture, the plain result is returned and the reason
kept. Graphs share one pool where the backend has one, so replays follow each other: an event after each replay is
waited for, on the device, by the next; a call that comes while another one is at it runs as it is.

What is captured is a `Work`: a call of the function where ubatches follow each other (one graph serves all ubatches of
one size), the whole step where they overlap (the graph is the overlap, and its key holds every size).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from microbatch.arrays.comparing import Comparison
from microbatch.arrays.looks import is_array
from microbatch.extend.abilities import SupportsGraphs
from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind, StepReport
from microbatch.graphs.cache import Entry, GraphCache
from microbatch.graphs.key import GraphKey, Refused, describe, flatten
from microbatch.graphs.padding import bucket_of, fill, outputs_of, resized
from microbatch.graphs.work import Work, one_call

__all__ = ["BUDGET_SHARE", "Graphs", "StepGraphs"]

BUDGET_SHARE = 4
"""Graphs may keep this part (a quarter) of what the device has for them and for everything else."""


class Graphs:
    """The captured calls and steps of one function. `sizes` are rows of a ubatch, in increasing order.

    `budget` in bytes; None takes a share of what is usable. `uniform` says that all arrays are cut along axis 0, `modes()`
    what of the function itself decides which work it launches (whether a module trains).
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
        self._turn = [None]

    def step(self, backend: Backend, schedule: str) -> StepGraphs:
        """What calls the function in one step, and counts."""
        return StepGraphs(self, backend, schedule)

    def call(self, step: StepGraphs, work: Work, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The outputs for these arguments."""
        if work.refused:
            return step.plain(work, args, kwargs, work.refused)
        try:
            self._turn.pop()  # atomic: one call at a time has it
        except IndexError:
            return step.plain(work, args, kwargs, "another call is replaying")
        try:
            return self._call(step, work, args, kwargs)
        except Exception as error:
            if step.backend.classify(error) is FailureKind.OOM:
                self.clear()
            raise
        finally:
            self._turn.append(None)

    def clear(self) -> None:
        """Give the memory of all graphs back."""
        self.cache.clear()
        self._families.clear()

    def _call(self, step: StepGraphs, work: Work, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        leaves, spec = flatten((args, dict(kwargs)))
        key = self._key(work, step.backend, leaves, spec)
        if isinstance(key, Refused):
            return step.plain(work, args, kwargs, key.reason)
        rows = leaves_rows(leaves) if key.rows is not None else None
        family = key.of_rows(None)
        if self._padded(work, key) and family not in self._families:
            self._families.add(family)
            self._capture_all(step, work, key, leaves)
        reason = self.cache.refused(key)
        if reason:
            return step.plain(work, args, kwargs, reason)
        entry = self.cache.find(key)
        if entry is not None and rows in entry.rows:
            step.hits += work.ubatches
            return self._replay(step.backend, entry, leaves, rows)
        plain = step.plain(work, args, kwargs, step.note)
        if entry is None:
            entry = self._capture(step, work, key, leaves)
        if entry is not None:
            self._check(step, key, entry, leaves, rows, plain)
        return plain

    def _key(self, work: Work, backend: Backend, leaves: list[Any], spec: Any) -> GraphKey | Refused:
        key = describe(spec, leaves, backend, uniform=self.uniform, modes=self._modes())
        if isinstance(key, Refused):
            return key
        if key.rows == 0:
            return Refused("there are no rows")
        if key.rows is None or not self._padded(work, key):
            return replace(key, cut=work.cut)
        bucket = bucket_of(key.rows, work.sizes)
        if bucket is None:
            return Refused(f"{key.rows} rows are above the largest captured size of {work.sizes[-1]}")
        return replace(key, rows=bucket, cut=work.padded_cut)

    def _padded(self, work: Work, key: GraphKey) -> bool:
        return bool(work.sizes) and not self._mixes and key.rows is not None

    def _capture_all(self, step: StepGraphs, work: Work, key: GraphKey, leaves: list[Any]) -> None:
        """All sizes, the largest first, so that the smaller ones find room in the pool it made."""
        for size in sorted(work.sizes, reverse=True):
            sized = key.of_rows(size)
            if self.cache.find(sized) is None and self.cache.refused(sized) is None:
                self._capture(step, work, sized, leaves)

    def _capture(self, step: StepGraphs, work: Work, key: GraphKey, leaves: list[Any]) -> Entry | None:
        """The graph of `key`, kept; None where it could not be made."""
        backend = step.backend
        try:
            entry = self._captured(step, work, key, leaves)
        except Exception as error:
            if backend.classify(error) is FailureKind.DEAD:
                raise
            if backend.classify(error) is FailureKind.OOM:
                self.cache.clear()
            reason = f"capturing failed: {type(error).__name__}: {str(error)[:200]}"
        else:
            step.captures += 1
            return entry if self.cache.keep(key, entry, self._bytes(backend)) else None
        self.cache.refuse(key, reason)
        step.note = reason
        return None

    def _captured(self, step: StepGraphs, work: Work, key: GraphKey, leaves: list[Any]) -> Entry:
        backend: Any = step.backend
        static = resized(leaves, key.rows, backend)
        args, kwargs = key.spec.unflatten(static)
        if backend.name not in self._pools:
            self._pools[backend.name] = backend.graph_pool()
        self._wait(backend)
        graph, output = backend.capture(
            lambda: work.captured(*args, **kwargs), pool=self._pools[backend.name]
        )
        outputs, spec = flatten(output)
        held = graph.bytes_held() + sum(_bytes(leaf) for leaf in (*static, *outputs))
        return Entry(graph, static, outputs, spec, held)

    def _check(
        self,
        step: StepGraphs,
        key: GraphKey,
        entry: Entry,
        leaves: list[Any],
        rows: int | None,
        plain: Any,
    ) -> None:
        """Allow `entry` for `rows` if it gives what the plain call gave."""
        expected, spec = flatten(plain)
        padded = rows is not None and rows != key.rows
        different = "has another structure"
        if spec == entry.spec:
            trimmed = tuple(
                padded and is_array(leaf) and len(leaf.shape) > 0 and leaf.shape[0] == key.rows
                for leaf in entry.outputs
            )
            entry.rows[rows] = trimmed
            found = self._replay(step.backend, entry, leaves, rows)
            step.backend.current_stream().synchronize()
            differences = Comparison(spec, expected).differences(found, "a replayed graph")
            if not differences:
                return
            different = str(differences[0])
        entry.rows.pop(rows, None)
        if padded:
            self._mixes = f"padding rows changes the result, so sizes are not rounded: {different}"
            step.note = self._mixes
        else:
            self._drain()
            self.cache.refuse(key, f"a replay differs from the plain call: {different}")
            step.note = self.cache.refused(key) or ""

    def _replay(self, backend: Backend, entry: Entry, leaves: list[Any], rows: int | None) -> Any:
        self._wait(backend)
        fill(entry.inputs, leaves, backend)
        entry.graph.replay()
        result = outputs_of(entry.outputs, entry.rows[rows], rows, backend)
        if self._last is None:
            self._last = backend.event()
        self._last.record(backend.current_stream())
        return entry.spec.unflatten(result)

    def _wait(self, backend: Backend) -> None:
        """Later work of the current stream comes after the last replay."""
        if self._last is not None:
            backend.current_stream().wait(self._last)

    def _drain(self) -> None:
        if self._last is not None:
            self._last.synchronize()

    def _bytes(self, backend: Backend) -> int:
        if self._budget is not None:
            return self._budget
        return (backend.memory().usable + self.cache.held) // BUDGET_SHARE


ONE_AFTER_THE_OTHER = ("sequential", "streamed")
"""Schedules whose calls of the function follow each other on one stream."""


class StepGraphs:
    """Stands for the function in one step, or for the step itself."""

    __slots__ = ("_call", "_graphs", "_refused", "backend", "captures", "hits", "misses", "note")

    def __init__(self, graphs: Graphs, backend: Backend, schedule: str) -> None:
        self._graphs = graphs
        self._call = one_call(graphs.function, graphs.sizes)
        self.backend = backend
        self.hits = 0
        self.misses = 0
        self.captures = 0
        self.note = ""
        if not isinstance(backend, SupportsGraphs):
            self._refused = f"the backend {backend.name!r} cannot capture graphs"
        elif schedule in ONE_AFTER_THE_OTHER:
            self._refused = ""
        else:
            self._refused = f"graphs are replayed one after the other, and the schedule is {schedule}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's outputs, replayed or not."""
        if self._refused:
            return self.plain(self._call, args, kwargs, self._refused)
        return self._graphs.call(self, self._call, args, kwargs)

    def whole(self, work: Work, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The outputs of a whole step, replayed or not."""
        if not isinstance(self.backend, SupportsGraphs):
            return self.plain(work, args, kwargs, self._refused)
        return self._graphs.call(self, work, args, kwargs)

    def counted(self, report: StepReport) -> StepReport:
        """`report` with what was replayed and captured, and why not; a step that captured is no measure of time."""
        reason = "; ".join(part for part in (report.reason, self.note and f"graphs: {self.note}") if part)
        return replace(
            report,
            graph_hits=self.hits,
            graph_misses=self.misses,
            graph_captures=self.captures,
            reason=reason,
            calibration=report.calibration or self.captures > 0,
            ubatch_seconds=report.ubatch_seconds if any(report.ubatch_seconds) else (),
        )

    def plain(self, work: Work, args: tuple[Any, ...], kwargs: Mapping[str, Any], reason: str) -> Any:
        """Run `work` as it is; `reason` is empty where it may be replayed next time."""
        self.note = reason
        self.misses += work.ubatches
        return work.plain(*args, **kwargs)


def leaves_rows(leaves: Sequence[Any]) -> int:
    """Rows of the first array that has any axis."""
    return next(int(leaf.shape[0]) for leaf in leaves if is_array(leaf) and len(leaf.shape))


def _bytes(leaf: Any) -> int:
    return int(getattr(leaf, "nbytes", 0)) if is_array(leaf) else 0
