"""Drawn cases are what they say, and small when they shrink."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree
from hypothesis import find, given, settings
from hypothesis import strategies as st

import microbatch
from microbatch.batch.ranges import BatchShape, UBatchSlice
from microbatch.extend.records import MemoryReading, SizingRequest, StepReport
from microbatch.testing import register, strategies

QUICK = settings(max_examples=300, database=None)


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
    for kind in (BatchShape, MemoryReading, SizingRequest, StepReport, UBatchSlice):
        assert isinstance(data.draw(st.from_type(kind)), kind)


def test_cases_shrink_to_small_ones() -> None:
    assert find(strategies.query_start_locs(), lambda s: s[-1] > 3, settings=QUICK).tolist() == [0, 4]
    batch = find(strategies.batches(), lambda b: b.num_tokens > 2, settings=QUICK)
    assert batch.num_tokens == 3
    assert set(batch.inputs) == {"hidden"}
    order = find(strategies.work_orders(), lambda o: len(o.turns) > 0, settings=QUICK)
    assert order.turns == ((0, 0),)
    assert order.starved is None
