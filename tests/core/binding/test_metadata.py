"""The fields of a ubatch against a model that looks at each token by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.binding.request_fields import slice_computed_tokens, slice_query_start_loc, slice_seq_lens
from microbatch.cutting.cut import cut
from microbatch.cutting.slices import BatchShape, UBatchSlice, padded_twin
from microbatch.errors import SliceError
from microbatch.metadata import UbatchMetadata, make_ubatch_metadata, query_start_loc_from
from microbatch.turns.context import UBatchContext

DTYPES = st.sampled_from([np.int32, np.int64, np.uint32])


class Step:
    """A drawn step: requests with history and new tokens, and where it is cut."""

    def __init__(self, requests: list[tuple[int, int]], bounds: list[int], dtype: Any) -> None:
        self.computed = np.array([history for history, _ in requests], dtype)
        self.queries = [new for _, new in requests]
        self.query_start_loc = query_start_loc_from(self.queries, dtype)
        self.seq_lens = (self.computed + np.diff(self.query_start_loc)).astype(dtype)
        self.owner = np.repeat(np.arange(len(requests)), self.queries)
        shape = BatchShape(
            num_tokens=len(self.owner), num_requests=len(requests), query_start_loc=self.query_start_loc
        )
        self.slices = cut(shape, splitter="explicit", boundaries=bounds).slices

    def metadata(self, part: UBatchSlice, **fields: Any) -> UbatchMetadata:
        return make_ubatch_metadata(
            UBatchContext(part),
            query_start_loc=self.query_start_loc,
            seq_lens=self.seq_lens,
            num_computed_tokens=self.computed,
            **fields,
        )

    def tokens_before(self, request: int, end: int) -> int:
        return int((self.owner[:end] == request).sum())

    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.query_start_loc, self.seq_lens, self.computed


@st.composite
def steps(draw: st.DrawFn) -> Step:
    requests = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
    total = sum(new for _, new in requests)
    if not total:
        requests, total = [*requests, (3, 1)], 1
    return Step(requests, sorted(draw(st.sets(st.integers(1, total), max_size=8))), draw(DTYPES))


@given(steps())
def test_each_request_has_its_own_tokens_of_the_ubatch(step: Step) -> None:
    for part in step.slices:
        held = step.metadata(part)
        start, stop = part.token_slice.start, part.token_slice.stop
        requests = range(part.req_slice.start, part.req_slice.stop)
        queries = [step.tokens_before(r, stop) - step.tokens_before(r, start) for r in requests]
        assert held.query_start_loc.tolist() == [0, *np.cumsum(queries).tolist()]
        assert held.max_query_len == max(queries)
        assert held.query_start_loc[-1] == held.num_tokens == part.num_tokens


@given(steps())
def test_history_grows_by_the_tokens_of_earlier_ubatches(step: Step) -> None:
    for part in step.slices:
        held = step.metadata(part)
        for place, request in enumerate(range(part.req_slice.start, part.req_slice.stop)):
            before = step.tokens_before(request, part.token_slice.start)
            after = step.tokens_before(request, part.token_slice.stop)
            assert held.num_computed_tokens[place] == step.computed[request] + before
            assert held.seq_lens[place] == step.computed[request] + after


@given(steps())
def test_ubatches_together_restore_the_batch(step: Step) -> None:
    totals = np.zeros(len(step.queries), int)
    for part in step.slices:
        totals[part.req_slice] += np.diff(step.metadata(part).query_start_loc).astype(int)
    assert totals.tolist() == step.queries


@given(steps())
def test_fields_keep_their_dtype_and_the_callers_arrays_their_values(step: Step) -> None:
    before = [array.copy() for array in step.arrays()]
    for array in step.arrays():
        array.flags.writeable = False
    for part in step.slices:
        held = step.metadata(part)
        for field in (held.query_start_loc, held.seq_lens, held.num_computed_tokens):
            assert field.dtype == step.query_start_loc.dtype
    for array, copy in zip(step.arrays(), before, strict=True):
        assert np.array_equal(array, copy)


@given(steps())
def test_fields_that_do_not_change_are_views(step: Step) -> None:
    for part in step.slices:
        held = step.metadata(part)
        changed = step.query_start_loc[part.req_slice.stop] > part.token_slice.stop
        assert np.shares_memory(held.seq_lens, step.seq_lens) is not bool(changed)
        continued = step.query_start_loc[part.req_slice.start] < part.token_slice.start
        assert np.shares_memory(held.num_computed_tokens, step.computed) is not bool(continued)


def test_a_continued_prefill_counts_what_came_before() -> None:
    step = Step([(24, 8)], [4], np.int32)
    first, second = (step.metadata(part) for part in step.slices)
    assert (first.num_computed_tokens.tolist(), second.num_computed_tokens.tolist()) == ([24], [28])
    assert (first.seq_lens.tolist(), second.seq_lens.tolist()) == ([28], [32])


def test_a_prefill_that_spans_three_ubatches_is_shortened_once() -> None:
    step = Step([(0, 2), (5, 12), (0, 1)], [4, 9], np.int32)
    middle = step.metadata(step.slices[1])
    assert middle.query_start_loc.tolist() == [0, 5]
    assert (middle.num_computed_tokens.tolist(), middle.seq_lens.tolist()) == ([7], [12])


@pytest.mark.pitfall(27)
def test_model_inputs_are_cut_by_token() -> None:
    part = UBatchSlice.from_range(2, 5, 1, 2)
    ids, grid, hidden = np.arange(8), np.arange(24).reshape(3, 8), np.arange(16).reshape(8, 2)
    held = make_ubatch_metadata(
        UBatchContext(part),
        input_ids=ids,
        positions=grid,
        inputs_embeds=hidden,
        intermediate_tensors={"residual": hidden},
    )
    assert held.input_ids.tolist() == [2, 3, 4]
    assert held.positions.tolist() == grid[:, 2:5].tolist()
    assert np.array_equal(held.inputs_embeds, hidden[2:5])
    assert np.array_equal(held.intermediate_tensors["residual"], hidden[2:5])
    assert np.shares_memory(held.input_ids, ids) and np.shares_memory(held.positions, grid)
    assert (held.num_tokens, held.num_reqs) == (3, 1)
    assert (held.token_slice, held.req_slice) == (part.token_slice, part.req_slice)
    assert held.context.slice_info is part


def test_positions_in_one_dimension_and_tensors_that_slice_themselves() -> None:
    part = UBatchSlice.from_range(1, 3, 0, 1)
    held = make_ubatch_metadata(
        UBatchContext(part), positions=np.arange(4), intermediate_tensors=[5, 6, 7, 8]
    )
    assert held.positions.tolist() == [1, 2]
    assert held.intermediate_tensors == [6, 7]


@pytest.mark.pitfall(27)
def test_fields_that_the_step_has_not_stay_none() -> None:
    held = make_ubatch_metadata(UBatchContext(UBatchSlice.from_range(0, 3, 0, 1)))
    for name in (
        "input_ids",
        "positions",
        "inputs_embeds",
        "intermediate_tensors",
        "query_start_loc",
        "seq_lens",
    ):
        assert getattr(held, name) is None
    assert (held.num_computed_tokens, held.max_query_len, held.max_seq_len) == (None, 0, 0)


def test_a_ubatch_of_padding_keeps_its_request_and_the_batchs_longest_query() -> None:
    step = Step([(3, 2), (0, 4)], [3], np.int32)
    padding = UBatchSlice.from_range(7, 9, 1, 2)
    held = step.metadata(padding, max_query_len=4)
    assert held.query_start_loc.tolist() == [0, 0]
    assert (held.seq_lens.tolist(), held.num_computed_tokens.tolist()) == ([4], [4])
    assert held.max_query_len == 4


def test_a_padded_twin_has_metadata_of_padded_arrays() -> None:
    step = Step([(3, 2), (0, 4)], [3], np.int32)
    last = padded_twin(step.slices, 8, 4)[-1]
    held = make_ubatch_metadata(
        UBatchContext(last),
        query_start_loc=np.array([0, 2, 6, 6, 6]),
        seq_lens=np.array([5, 4, 0, 0]),
        num_computed_tokens=np.array([3, 0, 0, 0]),
    )
    assert held.query_start_loc.tolist() == [0, 3, 3, 3]
    assert (held.seq_lens.tolist(), held.num_computed_tokens.tolist()) == ([4, 0, 0], [1, 0, 0])


def test_a_capture_time_longest_sequence_is_kept() -> None:
    step = Step([(3, 2), (0, 4)], [2], np.int32)
    assert step.metadata(step.slices[0], max_seq_len=4096).max_seq_len == 4096
    assert step.metadata(step.slices[0], max_seq_len=1).max_seq_len == 5


def test_a_part_without_requests_has_nothing() -> None:
    step = Step([(3, 2)], [], np.int32)
    held = step.metadata(UBatchSlice.from_range(2, 2, 1, 1))
    assert held.query_start_loc.tolist() == [0]
    assert len(held.seq_lens) == len(held.num_computed_tokens) == held.max_query_len == 0


def test_copies_are_made_the_way_the_framework_does() -> None:
    class Tensor(np.ndarray):
        clones = 0

        def clone(self) -> Any:
            type(self).clones += 1
            return self.copy()

    part = UBatchSlice.from_range(1, 3, 0, 1)
    field = np.array([9]).view(Tensor)
    assert slice_seq_lens(field, np.array([0, 5]), part).tolist() == [7]
    assert slice_computed_tokens(field, np.array([0, 5]), part).tolist() == [10]
    assert Tensor.clones == 2
    assert field.tolist() == [9]


def test_too_few_offsets() -> None:
    with pytest.raises(
        SliceError, match=r"query_start_loc has 2 entries, too few for tokens 0:4, requests 0:2"
    ):
        slice_query_start_loc(np.array([0, 4]), UBatchSlice.from_range(0, 4, 0, 2))


def test_tokens_before_their_first_request() -> None:
    with pytest.raises(SliceError, match="comes before its first request, which starts at 4"):
        slice_query_start_loc(np.array([0, 4, 9]), UBatchSlice.from_range(2, 6, 1, 2))


@pytest.mark.parametrize("name", ["seq_lens", "num_computed_tokens"])
def test_fields_of_requests_need_the_offsets(name: str) -> None:
    context: Any = SimpleNamespace(slice_info=UBatchSlice.from_range(0, 2, 0, 1))
    with pytest.raises(SliceError, match=f"{name} is given without query_start_loc"):
        make_ubatch_metadata(context, **{name: np.array([2])})


@pytest.mark.bad_input(49)
def test_offsets_from_lengths() -> None:
    assert query_start_loc_from([3, 0, 2]).tolist() == [0, 3, 3, 5]
    assert query_start_loc_from([]).tolist() == [0]
    assert query_start_loc_from([3], np.int32).dtype == np.int32
    with pytest.raises(
        SliceError, match=r"a total of 3,221,225,472 tokens does not fit int32 offsets; use int64"
    ):
        query_start_loc_from(np.full(3, 2**30, np.int32), np.int32)
    with pytest.raises(SliceError, match=r"lengths\[1\] is -1"):
        query_start_loc_from([3, -1])
