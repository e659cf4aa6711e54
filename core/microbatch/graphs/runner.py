"""Replay a call where its graph is known, capture it where it may be, and run it as it is otherwise.

Invariant: the result is that of the plain call. A graph is used for a number of rows only after its result for those
rows equalled the plain call's, compared once: that refuses functions that mix rows (padding would change them), draw
random numbers, or branch on the host. Whatever goes wrong in a capture, the plain result is returned and the reason
kept. Graphs share one pool where the backend has one, so replays follow each other: an event after each replay is
waited for, on the device, by the next; a call that comes while another one is at it runs as it is.

Rejected: one graph for all ubatches of a plan (its key holds every size, so it is hit less; it would pay where ubatches
overlap inside the graph, which the schedules with threads do not do in captures).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from microbatch.batch.inputs import is_array
from microbatch.comparing import Comparison, Tolerance, compare
from microbatch.extend.protocols import Backend, SupportsGraphs
from microbatch.extend.records import FailureKind, StepReport
from microbatch.graphs.cache import Entry, GraphCache
from microbatch.graphs.key import GraphKey, Refused, describe, flatten
from microbatch.graphs.padding import bucket_of, fill, outputs_of, resized

__all__ = ["BUDGET_SHARE", "Graphs", "StepGraphs"]

BUDGET_SHARE = 4
"""Graphs may keep this part (a quarter) of what the device has for them and for everything else."""


class Graphs:
    """The captured calls of one function. `budget` in bytes; None takes a share of what is usable."""

    def __init__(
        self,
        function: Callable[..., Any],
        sizes: Sequence[int] | None = None,
        *,
        uniform: bool = True,
        budget: int | None = None,
    ) -> None:
        self.function = function
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

    def call(self, step: StepGraphs, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The outputs for these arguments."""
        try:
            self._turn.pop()  # atomic: one call at a time has it
        except IndexError:
            return step.plain(args, kwargs, "another call is replaying")
        try:
            return self._call(step, args, kwargs)
        except Exception as error:
            if step.backend.classify(error) is FailureKind.OOM:
                self.cache.clear()
                self._families.clear()
            raise
        finally:
            self._turn.append(None)

    def _call(self, step: StepGraphs, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        leaves, spec = flatten((args, dict(kwargs)))
        key = self._key(step.backend, leaves, spec)
        if isinstance(key, Refused):
            return step.plain(args, kwargs, key.reason)
        rows = leaves_rows(leaves) if key.rows is not None else None
        family = key.of_rows(None)
        if self._padded(key) and family not in self._families:
            self._families.add(family)
            self._capture_all(step, key, leaves)
        reason = self.cache.refused(key)
        if reason:
            return step.plain(args, kwargs, reason)
        entry = self.cache.find(key)
        if entry is not None and rows in entry.rows:
            step.hits += 1
            return self._replay(step.backend, entry, leaves, rows)
        plain = self.function(*args, **kwargs)
        if entry is None:
            entry = self._capture(step, key, leaves)
        if entry is not None:
            self._check(step, key, entry, leaves, rows, plain)
        return plain

    def _key(self, backend: Backend, leaves: list[Any], spec: Any) -> GraphKey | Refused:
        key = describe(spec, leaves, backend, uniform=self.uniform)
        if isinstance(key, Refused) or key.rows is None:
            return key
        if key.rows == 0:
            return Refused("there are no rows")
        if not self._padded(key):
            return key
        bucket = bucket_of(key.rows, self.sizes)
        if bucket is None:
            return Refused(f"{key.rows} rows are above the largest captured size of {self.sizes[-1]}")
        return key.of_rows(bucket)

    def _padded(self, key: GraphKey) -> bool:
        return bool(self.sizes) and not self._mixes and key.rows is not None

    def _capture_all(self, step: StepGraphs, key: GraphKey, leaves: list[Any]) -> None:
        """All sizes, the largest first, so that the smaller ones find room in the pool it made."""
        for size in sorted(self.sizes, reverse=True):
            sized = key.of_rows(size)
            if self.cache.find(sized) is None and self.cache.refused(sized) is None:
                self._capture(step, sized, leaves)

    def _capture(self, step: StepGraphs, key: GraphKey, leaves: list[Any]) -> Entry | None:
        """The graph of `key`, kept; None where it could not be made."""
        backend = step.backend
        try:
            entry = self._captured(step, key, leaves)
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

    def _captured(self, step: StepGraphs, key: GraphKey, leaves: list[Any]) -> Entry:
        backend: Any = step.backend
        static = resized(leaves, key.rows, backend)
        args, kwargs = key.spec.unflatten(static)
        self.function(*args, **kwargs)  # warm-up at this size: handles, plans and workspaces exist afterwards
        if backend.name not in self._pools:
            self._pools[backend.name] = backend.graph_pool()
        self._wait(backend)
        graph, output = backend.capture(
            lambda: self.function(*args, **kwargs), pool=self._pools[backend.name]
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
            differences = compare(
                spec, expected, found, "a replayed graph", Tolerance(), Comparison(), frozenset()
            )
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


class StepGraphs:
    """Stands for the function in one step."""

    __slots__ = ("_allowed", "_graphs", "backend", "captures", "hits", "note")

    def __init__(self, graphs: Graphs, backend: Backend, schedule: str) -> None:
        self._graphs = graphs
        self.backend = backend
        self.hits = 0
        self.captures = 0
        self.note = ""
        self._allowed = ""
        if not isinstance(backend, SupportsGraphs):
            self._allowed = f"the backend {backend.name!r} cannot capture graphs"
        elif schedule != "sequential":
            self._allowed = f"graphs are replayed one after the other, and the schedule is {schedule}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's outputs, replayed or not."""
        if self._allowed:
            return self.plain(args, kwargs, self._allowed)
        return self._graphs.call(self, args, kwargs)

    def counted(self, report: StepReport) -> StepReport:
        """`report` with what was replayed and captured, and why not; a step that captured is no measure of time."""
        reason = "; ".join(part for part in (report.reason, self.note and f"graphs: {self.note}") if part)
        return replace(
            report,
            graph_hits=self.hits,
            graph_captures=self.captures,
            reason=reason,
            calibration=report.calibration or self.captures > 0,
        )

    def plain(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], reason: str) -> Any:
        """Call the function as it is."""
        self.note = reason
        return self._graphs.function(*args, **kwargs)


def leaves_rows(leaves: Sequence[Any]) -> int:
    """Rows of the first array that has any axis."""
    return next(int(leaf.shape[0]) for leaf in leaves if is_array(leaf) and len(leaf.shape))


def _bytes(leaf: Any) -> int:
    return int(getattr(leaf, "nbytes", 0)) if is_array(leaf) else 0
