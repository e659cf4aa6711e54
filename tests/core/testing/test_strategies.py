"""Drawn cases are what they say, and small when they shrink."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import optree
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import microbatch
from microbatch.cutting.slices import BatchShape, UBatchSlice
from microbatch.extend.records import FailureKind, MemoryReading, SizingRequest, StepReport
from microbatch.testing import register, strategies
from microbatch_backends.host.backend import CpuBackend
from tests.support.binding import bind
from tests.support.deterministic.drawn import switch_lists

QUICK = settings(max_examples=60, database=None)


@given(starts=strategies.query_start_locs())
def test_query_start_locs_begin_at_0_and_rise(starts: np.ndarray) -> None:
    assert starts[0] == 0
    assert (np.diff(starts) >= 1).all()


@given(batch=strategies.batches(), function=strategies.row_functions(), ubatches=st.integers(1, 4))
def test_batches_can_be_cut_and_functions_of_rows_do_not_notice(
    batch: Any, function: Any, ubatches: int
) -> None:
    with microbatch.wrap(
        function, layout=batch.layout, num_ubatches=ubatches, policy="fixed", schedule="sequential"
    ) as wrapped:
        got = wrapped(**batch.inputs)
    expected = function(**batch.inputs)
    assert optree.tree_structure(got) == optree.tree_structure(expected)
    for one, other in zip(optree.tree_leaves(got), optree.tree_leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


@given(drawn=strategies.cuts(shapes=strategies.batch_shapes()))
def test_cuts_cover_the_batch(drawn: Any) -> None:
    assert sum(piece.num_tokens for piece in drawn.cut.slices) == drawn.shape.num_tokens


@given(trace=strategies.memory_traces())
def test_the_peak_of_a_memory_trace_never_falls(trace: list[MemoryReading]) -> None:
    peaks = [reading.peak for reading in trace]
    assert peaks == sorted(peaks)
    assert all(reading.in_use <= reading.peak <= reading.capacity for reading in trace)


@given(report=strategies.step_outcomes(), fault=strategies.faults(ubatches=3))
def test_outcomes_and_faults_could_be_real(report: StepReport, fault: Any) -> None:
    assert sum(report.sizes) == report.num_tokens
    assert 0 <= fault.ubatch < 3


@given(data=st.data())
def test_types_are_registered_with_hypothesis(data: Any) -> None:
    assert register.__name__
    for kind in (BatchShape, microbatch.Layout, MemoryReading, SizingRequest, StepReport, UBatchSlice):
        assert isinstance(data.draw(st.from_type(kind)), kind)


@given(layout=strategies.layouts(), data=st.data())
def test_batches_fit_the_layout_they_are_drawn_for(layout: microbatch.Layout, data: Any) -> None:
    batch = data.draw(strategies.batches(layout=st.just(layout)))
    assert batch.layout is layout
    assert set(layout.inputs) <= set(batch.inputs) <= {*layout.inputs, "scale"}
    shape = bind(layout, (), batch.inputs, backend=CpuBackend()).shape
    assert (shape.num_tokens, shape.num_requests) == (batch.num_tokens, batch.num_requests)


@given(plan=strategies.plans(shapes=strategies.batch_shapes(), max_workers=2))
def test_plans_are_whole_or_have_several_parts(plan: Any) -> None:
    assert 1 <= plan.workers <= 2
    assert plan.cut is None or (len(plan.cut.slices) > 1 and plan.limit >= 1)


def small(strategy: st.SearchStrategy[Any], condition: Any = lambda drawn: True) -> Any:
    """The smallest case that hypothesis finds."""
    return find(strategy, condition, settings=QUICK, random=random.Random(0))


def test_the_smallest_batch_is_an_empty_array() -> None:
    batch = small(strategies.batches())
    assert set(batch.inputs) == {"hidden"}
    assert batch.inputs["hidden"].shape == (0,)


@pytest.mark.parametrize("ragged", [False, True])
def test_batches_shrink_to_the_rows_that_matter(ragged: bool) -> None:
    drawn = strategies.batches(layout=strategies.layouts(ragged=ragged))
    batch = small(drawn, lambda batch: batch.num_tokens > 2)
    assert batch.num_tokens == 3
    assert set(batch.inputs) == ({"hidden", "query_start_loc"} if ragged else {"hidden"})
    np.testing.assert_array_equal(batch.inputs["hidden"], np.arange(3))
    if ragged:
        assert batch.num_requests <= 3


def test_offsets_and_shapes_shrink_to_one_request() -> None:
    assert small(strategies.query_start_locs(), lambda starts: starts[-1] > 3).tolist() == [0, 4]
    shape = small(strategies.batch_shapes(), lambda shape: shape.lengths is not None and shape.num_tokens > 0)
    assert shape.lengths.tolist() == [1]


def test_layouts_shrink_to_the_rule_that_matters() -> None:
    assert small(strategies.layouts()) == microbatch.Layout(
        inputs={"hidden": microbatch.tokens()}, outputs={"*": microbatch.tokens()}
    )
    found = small(strategies.layouts(), lambda layout: "per_request" in layout.inputs)
    assert list(found.inputs) == ["hidden", "query_start_loc", "per_request"]


def test_trees_shrink_to_one_leaf_in_the_container_that_matters() -> None:
    trees = strategies.pytrees(leaves=st.just(0))
    assert small(trees) == 0
    assert small(trees, lambda tree: isinstance(tree, dict)) == {"hidden": 0}
    function = small(strategies.row_functions(), lambda function: isinstance(function(hidden=1), dict))
    assert function(hidden=1) == {"out": 1, "next": 2}


def test_cuts_and_plans_shrink_to_two_rows_in_two_parts() -> None:
    shapes = strategies.batch_shapes()
    drawn = small(strategies.cuts(shapes=shapes), lambda drawn: len(drawn.cut.slices) > 1)
    assert drawn.shape.num_tokens == 2
    assert [piece.num_tokens for piece in drawn.cut.slices] == [1, 1]
    plan = small(strategies.plans(shapes=shapes), lambda plan: plan.cut is not None)
    assert (len(plan.cut.slices), plan.num_units, plan.workers) == (2, 2, 1)
    assert small(strategies.plans(shapes=shapes)).cut is None


def test_schedules_and_faults_shrink_to_what_matters() -> None:
    order = small(strategies.work_orders(), lambda order: len(order.turns) > 0)
    assert (order.turns, order.starved, order.oldest_first) == (((0, 0),), None, False)
    assert small(switch_lists(), lambda switches: len(switches) > 0) == [(0, 0)]
    assert small(strategies.turn_lists(parties=3), lambda turns: 2 in turns) == [2]
    fault = small(strategies.faults(ubatches=4), lambda fault: fault.ubatch > 1)
    assert (fault.ubatch, fault.stage, fault.memory) == (2, "load", False)
    (entry,) = small(
        strategies.traces(threads=1, streams=1), lambda trace: any(entry.kind == "launch" for entry in trace)
    )
    assert entry.accesses == ((0, 0, 1, False, True),)


def test_numbers_shrink_to_round_ones() -> None:
    (reading,) = small(strategies.memory_traces(), lambda trace: trace[-1].in_use > 0)
    assert (reading.capacity, reading.in_use, reading.peak) == (1 << 20, 1, 1)
    report = small(strategies.step_outcomes(), lambda report: report.failure is FailureKind.OOM)
    assert (report.sizes, report.oom_sizes, report.peak_bytes) == ((1,), (), None)
    request = small(strategies.sizing_requests(), lambda request: request.num_tokens > 1)
    assert (request.num_tokens, request.num_requests, request.memory) == (2, 1, None)
    piece = small(strategies.ubatch_slices(), lambda piece: piece.num_tokens > 1)
    assert (piece.token_slice, piece.req_slice) == (slice(0, 2), slice(0, 0))


def test_the_page_names_every_strategy() -> None:
    page = (Path(__file__).parents[3] / "docs/testing.md").read_text()
    missing = [name for name in strategies.__all__ if name.islower() and f"`{name}`" not in page]
    assert missing == []
