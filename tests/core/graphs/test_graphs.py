"""A function that is replayed gives what the plain call gives, for any sequence of batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.abilities import SupportsGraphs
from microbatch.extend.device import device_of
from microbatch.graphs.cache import CapturedGraph, GraphCache
from microbatch.graphs.key import GraphKey
from microbatch.graphs.padding import bucket_of
from microbatch.graphs.runner import Graphs
from microbatch.graphs.step_graphs import StepGraphs

cpu = pytest.importorskip("microbatch_backends.host.backend", reason="the cpu backend is not installed")


class FakeGraph:
    """Runs the captured work again on the static inputs, and writes into the outputs of the capture."""

    def __init__(self, work: Callable[[], Any], output: Any, held: int, log: list[str]) -> None:
        self.work, self.output, self.held, self.log = work, output, held, log

    def replay(self) -> None:
        self.log.append("replay")
        again = self.work()
        for name in self.output:
            self.output[name][...] = again[name]

    def bytes_held(self) -> int:
        return self.held


class GraphBackend(cpu.CpuBackend):  # type: ignore[misc,name-defined]
    """The cpu backend with captures; `broken` is raised by the next captures."""

    def __init__(self, held: int = 0) -> None:
        super().__init__()
        self.held, self.log = held, []
        self.broken: BaseException | None = None
        self.capturing = False

    def capture(self, work: Callable[[], Any], *, pool: object | None = None) -> tuple[FakeGraph, Any]:
        self.capturing = True
        try:
            if self.broken is not None:
                raise self.broken
            output = work()
        finally:
            self.capturing = False
        self.log.append(f"capture {len(output['y'])}")
        return FakeGraph(work, output, self.held, self.log), output

    def graph_pool(self) -> object | None:
        return None

    def capture_refused(self, error: BaseException) -> bool:
        return False


def rowwise(x: Any) -> dict[str, Any]:
    return {"y": x * 2 + 1, "sum": x.sum(1)}


def mixing(x: Any) -> dict[str, Any]:
    return {"y": x - x.mean(0)}


def shifting(x: Any) -> dict[str, Any]:
    return {"y": x - x[-1:] + np.arange(len(x))[:, None]}


SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=12)
BUCKETS = st.none() | st.lists(st.integers(1, 16), min_size=1, max_size=4, unique=True).map(sorted)


def same(function: Any, step: Any, values: np.ndarray) -> None:
    expected, found = function(values), step(values)
    assert expected.keys() == found.keys()
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name])


def batch(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, 2))


@given(rows=SIZES, buckets=BUCKETS, function=st.sampled_from([rowwise, mixing, shifting]))
def test_any_sequence_of_sizes_gives_what_the_plain_calls_give(
    rows: list[int], buckets: Any, function: Any
) -> None:
    graphs, backend = Graphs(function, buckets), GraphBackend()
    for seed, size in enumerate(rows):
        same(function, StepGraphs(graphs, device_of(backend), "sequential"), batch(size, seed))


@given(rows=SIZES, budget=st.integers(0, 4000), held=st.integers(0, 1500))
def test_the_graphs_kept_fit_the_budget(rows: list[int], budget: int, held: int) -> None:
    graphs, backend = Graphs(rowwise, budget=budget), GraphBackend(held)
    for seed, size in enumerate(rows):
        same(rowwise, StepGraphs(graphs, device_of(backend), "sequential"), batch(size, seed))
        assert graphs.cache.held <= budget


def test_the_least_recently_used_graph_goes_first() -> None:
    drained: list[int] = []
    cache = GraphCache(lambda: drained.append(1))
    keys = [GraphKey(None, (), rows, None) for rows in (1, 2, 3)]
    entries = [CapturedGraph(FakeGraph(dict, {}, 0, []), [], [], None, 10) for _ in keys]
    for key, entry in zip(keys[:2], entries, strict=False):
        cache.keep(key, entry, 20)
    assert cache.find(keys[0]) is entries[0] and not drained
    cache.keep(keys[2], entries[2], 20)
    assert cache.find(keys[1]) is None and cache.find(keys[0]) is entries[0] and drained


def test_a_second_call_of_a_size_is_a_hit() -> None:
    graphs, backend = Graphs(rowwise), GraphBackend()
    counts = []
    for seed in range(3):
        step = StepGraphs(graphs, device_of(backend), "sequential")
        same(rowwise, step, batch(5, seed))
        counts.append((step.captures, step.hits))
    assert counts == [(1, 0), (0, 1), (0, 1)]


@pytest.mark.pitfall(19)
def test_buckets_are_captured_at_once_the_largest_first_and_then_always_hit() -> None:
    graphs, backend = Graphs(rowwise, (2, 4, 8)), GraphBackend()
    for seed, rows in enumerate((1, 2, 3, 4, 5, 6, 7, 8)):
        same(rowwise, StepGraphs(graphs, device_of(backend), "sequential"), batch(rows, seed))
    assert [entry for entry in backend.log if entry != "replay"] == ["capture 8", "capture 4", "capture 2"]
    step = StepGraphs(graphs, device_of(backend), "sequential")
    for rows in range(1, 9):
        same(rowwise, step, batch(rows, 100 + rows))
    assert (step.hits, step.captures) == (8, 0)


@pytest.mark.pitfall(18)
def test_a_result_is_not_overwritten_by_the_next_replay() -> None:
    graphs, backend = Graphs(rowwise), GraphBackend()
    step = StepGraphs(graphs, device_of(backend), "sequential")
    step(batch(4, 0))
    first = step(batch(4, 1))
    kept = first["y"].copy()
    step(batch(4, 2))
    np.testing.assert_array_equal(first["y"], kept)


@pytest.mark.pitfall(19)
def test_a_function_that_mixes_rows_is_never_padded() -> None:
    graphs, backend = Graphs(mixing, (8,)), GraphBackend()
    step = StepGraphs(graphs, device_of(backend), "sequential")
    same(mixing, step, batch(5, 0))
    assert "padding rows changes the result" in step.note
    same(mixing, step, batch(5, 1))
    same(mixing, step, batch(5, 2))
    assert step.hits == 1


@pytest.mark.pitfall(20)
def test_random_numbers_are_not_frozen() -> None:
    generator = np.random.default_rng(0)
    graphs, backend = Graphs(lambda x: {"y": x + generator.normal(size=x.shape)}), GraphBackend()
    step = StepGraphs(graphs, device_of(backend), "sequential")
    step(batch(3, 0))
    assert "a replay differs from the plain call" in step.note
    step(batch(3, 0))
    assert step.hits == 0


@pytest.mark.pitfall(15)
@pytest.mark.parametrize(
    "error", [RuntimeError("capturing stream has unjoined work"), MemoryError("no room")]
)
def test_a_failed_capture_falls_back_with_the_reason_and_is_not_tried_again(error: Exception) -> None:
    graphs, backend = Graphs(rowwise), GraphBackend()
    backend.broken = error
    step = StepGraphs(graphs, device_of(backend), "sequential")
    same(rowwise, step, batch(3, 0))
    assert str(error) in step.note and not backend.capturing
    backend.broken = None
    same(rowwise, step, batch(3, 1))
    assert step.captures == 0
    same(rowwise, step, batch(4, 1))
    assert step.captures == 1


def test_running_out_of_memory_gives_the_graphs_back() -> None:
    full = False

    def function(x: Any) -> dict[str, Any]:
        if full:
            raise MemoryError("no room")
        return rowwise(x)

    graphs, backend = Graphs(function), GraphBackend()
    step = StepGraphs(graphs, device_of(backend), "sequential")
    step(batch(3, 0))
    assert len(graphs.cache) == 1
    full = True
    with pytest.raises(MemoryError):
        step(batch(4, 0))
    assert len(graphs.cache) == 0


def test_an_error_of_the_function_reaches_the_caller() -> None:
    def function(x: Any) -> Any:
        raise KeyError("row")

    with pytest.raises(KeyError, match="row"):
        StepGraphs(Graphs(function), device_of(GraphBackend()), "sequential")(batch(2, 0))


def test_a_call_inside_a_call_runs_as_it_is() -> None:
    backend = GraphBackend()

    def function(x: Any) -> dict[str, Any]:
        inner = StepGraphs(graphs, device_of(backend), "sequential")
        result = inner(x[:-1]) if len(x) > 1 else rowwise(x)
        notes.append(inner.note)
        return {"y": x + result["y"].sum()}

    graphs, notes = Graphs(function), list[str]()
    step, values = StepGraphs(graphs, device_of(backend), "sequential"), batch(2, 0)
    result = step(values)["y"]
    inside = values[:1] + rowwise(values[:1])["y"].sum()
    np.testing.assert_allclose(result, values + inside.sum())
    assert set(notes) == {"another call is replaying", ""}


def test_values_of_other_arguments_and_modes_are_part_of_the_key() -> None:
    backend = GraphBackend()
    modes = ["grad"]
    backend.graph_state = lambda: modes[0]
    graphs = Graphs(lambda x, scale: {"y": x * scale})
    step = StepGraphs(graphs, device_of(backend), "sequential")
    for scale in (2, 2.0, 3, True):
        np.testing.assert_array_equal(step(batch(2, 0), scale)["y"], batch(2, 0) * scale)
    assert (step.captures, step.hits) == (4, 0)
    modes[0] = "inference"
    step(batch(2, 0), 2)
    assert step.captures == 5


@pytest.mark.parametrize(
    ("backend", "schedule", "reason"),
    [
        (cpu.CpuBackend(), "sequential", "cannot capture"),
        (GraphBackend(), "pingpong", "one after the other"),
    ],
)
def test_where_graphs_cannot_be_used_the_reason_is_told(backend: Any, schedule: str, reason: str) -> None:
    step = StepGraphs(Graphs(rowwise), device_of(backend), schedule)
    same(rowwise, step, batch(3, 0))
    assert reason in step.note and isinstance(backend, SupportsGraphs) == (schedule == "pingpong")


@given(rows=st.integers(0, 30), sizes=st.lists(st.integers(1, 20), min_size=1, unique=True).map(sorted))
def test_the_bucket_is_the_smallest_that_holds_the_rows(rows: int, sizes: list[int]) -> None:
    assert bucket_of(rows, sizes) == min((size for size in sizes if size >= rows), default=None)
