"""What holds for every splitter, and the rules of even, floor and explicit."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.cutting.boundaries import is_last_ubatch_empty
from microbatch.cutting.cut import SPLITTERS, cut, most_ubatches, validate_slices
from microbatch.cutting.slices import BatchShape, Cut, UBatchSlice, padded_twin
from microbatch.errors import SliceError


def rows(count: int) -> BatchShape:
    return BatchShape(num_tokens=count, num_requests=count)


def tokens(lengths: list[int]) -> BatchShape:
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return BatchShape(num_tokens=int(offsets[-1]), num_requests=len(lengths), query_start_loc=offsets)


def padded(lengths: list[int]) -> BatchShape:
    return BatchShape(
        num_tokens=len(lengths), num_requests=len(lengths), lengths=np.array(lengths, dtype=np.int64)
    )


LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=30).filter(any)
"""Requests, some without tokens."""
FILLED = st.lists(st.integers(1, 12), min_size=1, max_size=30)
"""Requests that all have tokens."""
COUNTS = st.tuples(st.integers(1, 40), st.integers(0, 60)).map(
    lambda pair: BatchShape(num_tokens=sum(pair), num_requests=pair[0])
)
SHAPES = st.one_of(st.integers(1, 60).map(rows), LENGTHS.map(tokens), LENGTHS.map(padded), COUNTS)


@st.composite
def cuts(draw: st.DrawFn, shapes: st.SearchStrategy[BatchShape] = SHAPES) -> tuple[BatchShape, Cut]:
    shape = draw(shapes)
    splitter = draw(st.sampled_from(SPLITTERS))
    if splitter == "explicit":
        boundaries = draw(st.sets(st.integers(1, shape.num_tokens)))
        return shape, cut(shape, splitter=splitter, boundaries=sorted(boundaries))
    if draw(st.booleans()):
        return shape, cut(shape, splitter=splitter, limit=draw(st.integers(1, 70)))
    most = (
        shape.num_requests
        if shape.query_start_loc is None
        else np.count_nonzero(np.diff(shape.query_start_loc))
    )
    return shape, cut(shape, splitter=splitter, num_ubatches=draw(st.integers(1, int(most))))


def sizes(made: Cut) -> list[int]:
    return [part.num_tokens for part in made.slices]


def in_cut_order(shape: BatchShape, made: Cut) -> BatchShape:
    """The batch that the slices of `made` are ranges of."""
    if made.permutation is None or shape.query_start_loc is None:
        return shape
    return tokens(np.diff(shape.query_start_loc)[made.permutation].tolist())


@given(cuts())
def test_every_token_is_in_exactly_one_ubatch_and_in_order(case: tuple[BatchShape, Cut]) -> None:
    shape, made = case
    seen = [token for part in made.slices for token in range(shape.num_tokens)[part.token_slice]]
    assert seen == list(range(shape.num_tokens))
    assert not any(part.is_empty for part in made.slices)


@given(cuts())
def test_every_request_is_in_a_ubatch_and_only_straddlers_in_two(case: tuple[BatchShape, Cut]) -> None:
    shape, made = case
    assert made.slices[0].req_slice.start == 0
    assert made.slices[-1].req_slice.stop == shape.num_requests
    offsets = in_cut_order(shape, made).query_start_loc
    for part, following in pairwise(made.slices):
        shared = part.req_slice.stop - following.req_slice.start
        if offsets is not None:
            where = part.token_slice.stop
            assert shared == (where not in offsets)
        assert shared in (0, 1)


@given(cuts(LENGTHS.map(tokens)))
def test_a_ubatch_has_the_requests_of_its_tokens(case: tuple[BatchShape, Cut]) -> None:
    shape, made = case
    offsets = in_cut_order(shape, made).query_start_loc
    assert offsets is not None
    owner = np.repeat(np.arange(shape.num_requests), np.diff(offsets))
    for part in made.slices:
        held = set(owner[part.token_slice].tolist())
        given_requests = set(range(part.req_slice.start, part.req_slice.stop))
        assert held <= given_requests
        assert not any(np.diff(offsets)[list(given_requests - held)])


@given(cuts())
def test_what_cut_makes_is_valid_and_pure(case: tuple[BatchShape, Cut]) -> None:
    shape, made = case
    assert validate_slices(made.slices, in_cut_order(shape, made)) == made.slices
    for part in made.slices:
        for bounds in (part.token_slice, part.req_slice):
            assert type(bounds.start) is int and type(bounds.stop) is int and bounds.step is None


@given(cuts(LENGTHS.map(padded)))
def test_trims_are_the_longest_rows_and_padding_is_counted(case: tuple[BatchShape, Cut]) -> None:
    shape, made = case
    assert shape.lengths is not None and made.trims is not None
    order = np.arange(shape.num_requests) if made.permutation is None else made.permutation
    ordered = shape.lengths[order]
    longest = [max(1, max(ordered[part.token_slice].tolist())) for part in made.slices]
    assert list(made.trims) == longest
    whole = shape.num_requests * max(1, int(shape.lengths.max()))
    assert made.padding_avoided == whole - sum(
        width * part.num_reqs for width, part in zip(longest, made.slices, strict=True)
    )


@given(LENGTHS, st.sampled_from(SPLITTERS[:4]), st.integers(1, 9))
def test_the_input_arrays_are_only_read(lengths: list[int], splitter: str, limit: int) -> None:
    for shape in (tokens(lengths), padded(lengths)):
        array = shape.query_start_loc if shape.lengths is None else shape.lengths
        assert array is not None
        array.flags.writeable = False
        before = array.copy()
        cut(shape, splitter=splitter, limit=limit)
        assert np.array_equal(array, before)


def test_even_for_all_small_sizes() -> None:
    for count in range(1, 61):
        for limit in range(1, 61):
            by_limit = sizes(cut(rows(count), splitter="even", limit=limit))
            assert sum(by_limit) == count
            assert max(by_limit) <= limit
            assert max(by_limit) - min(by_limit) <= 1
            assert len(by_limit) == -(-count // limit)
            if limit <= count:
                by_count = sizes(cut(rows(count), splitter="even", num_ubatches=limit))
                assert len(by_count) == limit
                assert by_count == sorted(by_count, reverse=True)
                assert max(by_count) - min(by_count) <= 1


@pytest.mark.pitfall(22)
def test_even_leaves_no_small_rest() -> None:
    assert sizes(cut(rows(65), splitter="even", limit=64)) == [33, 32]
    assert sizes(cut(rows(1000), splitter="even", limit=256)) == [250] * 4


def test_floor_for_all_small_sizes() -> None:
    for count in range(1, 61):
        for number in range(1, count + 1):
            step = count // number
            starts = [index * step for index in range(number)]
            made = cut(rows(count), splitter="floor", num_ubatches=number)
            assert [part.token_slice.start for part in made.slices] == starts
        for limit in range(1, 61):
            fewest = next(k for k in range(1, count + 1) if count - (k - 1) * (count // k) <= limit)
            assert len(cut(rows(count), splitter="floor", limit=limit).slices) == fewest


@given(FILLED, st.integers(1, 6), st.integers(0, 30))
def test_floor_with_padding_is_vllms_rule(lengths: list[int], number: int, padding: int) -> None:
    shape = tokens(lengths)
    number = min(number, shape.num_tokens)
    total = shape.num_tokens + padding
    if is_last_ubatch_empty(shape.num_tokens, total, number):
        with pytest.raises(SliceError, match="would be empty"):
            cut(shape, splitter="floor", num_ubatches=number, num_tokens_padded=total)
        return
    made = cut(shape, splitter="floor", num_ubatches=number, num_tokens_padded=total).slices
    ends = np.cumsum(lengths)
    step = total // number
    for index, part in enumerate(made):
        start, stop = index * step, (index + 1) * step if index < number - 1 else shape.num_tokens
        first = next(request for request in range(len(lengths)) if ends[request] > start)
        last = next(request for request in range(len(lengths)) if ends[request] >= stop)
        assert part == UBatchSlice.from_range(start, stop, first, last + 1)


def test_floor_refuses_a_last_ubatch_of_padding_only() -> None:
    assert sizes(cut(rows(6), splitter="floor", num_ubatches=2, num_tokens_padded=10)) == [5, 1]
    with pytest.raises(SliceError, match="ubatch 1 of 2 would be empty: 5 tokens padded to 10"):
        cut(rows(5), splitter="floor", num_ubatches=2, num_tokens_padded=10)


def test_floor_gives_the_rest_to_the_last() -> None:
    assert sizes(cut(rows(10), splitter="floor", num_ubatches=4)) == [2, 2, 2, 4]


@given(LENGTHS, st.integers(0, 9), st.integers(0, 9), st.integers(1, 5))
def test_a_padded_twin_stretches_only_the_last(
    lengths: list[int], more_tokens: int, more_requests: int, limit: int
) -> None:
    shape = tokens(lengths)
    made = cut(shape, limit=limit).slices
    twin = padded_twin(made, shape.num_tokens + more_tokens, shape.num_requests + more_requests)
    assert twin[:-1] == made[:-1]
    assert sum(part.num_tokens for part in twin) == shape.num_tokens + more_tokens
    assert twin[-1].token_slice.start == made[-1].token_slice.start
    assert twin[-1].req_slice == slice(made[-1].req_slice.start, shape.num_requests + more_requests)


@pytest.mark.parametrize(
    ("real", "whole", "number", "empty"),
    [
        (10, 10, 2, False),
        (5, 10, 2, True),
        (6, 10, 2, False),
        (64, 128, 2, True),
        (3, 3, 4, False),
        (7, 9, 1, False),
    ],
)
def test_a_last_ubatch_of_padding_is_detected(real: int, whole: int, number: int, empty: bool) -> None:
    assert is_last_ubatch_empty(real, whole, number) is empty


def test_explicit_boundaries_may_leave_out_the_ends() -> None:
    for boundaries in ([4, 8], [0, 4, 8], [4, 8, 10], (0, np.int32(4), np.int64(8), 10), np.array([4, 8])):
        assert sizes(cut(rows(10), splitter="explicit", boundaries=boundaries)) == [4, 4, 2]  # type: ignore[arg-type]
    assert sizes(cut(rows(10), splitter="explicit", boundaries=[])) == [10]


def test_explicit_boundaries_may_ask_for_empty_ubatches() -> None:
    made = cut(tokens([3, 0, 3]), splitter="explicit", boundaries=[0, 0, 2, 2, 3, 3, 6, 6], allow_empty=True)
    assert sizes(made) == [0, 2, 0, 1, 0, 3, 0]
    assert [part.is_empty for part in made.slices] == [True, False] * 3 + [True]
    covered = [request for part in made.slices for request in range(3)[part.req_slice]]
    assert sorted(set(covered)) == [0, 1, 2]
    assert validate_slices(cut(rows(3), splitter="explicit", boundaries=[1]).slices, rows(3))


@given(LENGTHS, st.data())
def test_explicit_empty_ubatches_are_valid_where_they_are_allowed(
    lengths: list[int], data: st.DataObject
) -> None:
    shape = tokens(lengths)
    places = data.draw(st.lists(st.integers(0, shape.num_tokens), max_size=9))
    made = cut(shape, splitter="explicit", boundaries=sorted(places), allow_empty=True)
    assert validate_slices(made.slices, shape, allow_empty=True) == made.slices
    assert made.slices[0].req_slice.start == 0
    assert made.slices[-1].req_slice.stop == shape.num_requests


def test_empty_explicit_parts_of_padded_rows_have_width_one() -> None:
    made = cut(padded([5, 2, 0]), splitter="explicit", boundaries=[0, 0, 2, 2], allow_empty=True)
    assert made.trims == (1, 5, 1, 1)


@pytest.mark.pitfall(22)
@pytest.mark.parametrize("splitter", SPLITTERS[:4])
@pytest.mark.parametrize("shape", [rows(0), tokens([]), padded([])])
def test_an_empty_batch_has_no_ubatches(splitter: str, shape: BatchShape) -> None:
    assert cut(shape, splitter=splitter, num_ubatches=3).slices == ()
    assert cut(shape, splitter=splitter, limit=3).slices == ()
    assert validate_slices((), shape) == ()


@pytest.mark.pitfall(22)
@pytest.mark.parametrize("splitter", SPLITTERS[:4])
def test_one_row_is_one_ubatch(splitter: str) -> None:
    for shape in (rows(1), tokens([1]), padded([7])):
        made = cut(shape, splitter=splitter, num_ubatches=1)
        assert made.slices == (UBatchSlice.from_range(0, 1, 0, 1),)
        assert made.permutation is None
        assert cut(shape, splitter=splitter, limit=1).slices == made.slices


@given(COUNTS, st.data())
def test_without_offsets_requests_are_taken_as_equally_long(shape: BatchShape, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, shape.num_tokens))
    offsets = np.arange(shape.num_requests + 1) * shape.num_tokens // shape.num_requests
    known = BatchShape(num_tokens=shape.num_tokens, num_requests=shape.num_requests, query_start_loc=offsets)
    assert cut(shape, num_ubatches=number).slices == cut(known, num_ubatches=number).slices


def test_huge_counts_need_no_arrays() -> None:
    made = cut(BatchShape(num_tokens=10**15, num_requests=10**12), num_ubatches=3)
    assert sum(sizes(made)) == 10**15
    assert made.slices[-1].req_slice.stop == 10**12


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_slices_are_values(start: int, size: int, first: int, number: int) -> None:
    foreign: Any = np.int64(start), np.int32(first + number)  # integers that are no int
    part = UBatchSlice.from_range(foreign[0], start + size, first, foreign[1])
    same = UBatchSlice(token_slice=slice(start, start + size, 1), req_slice=slice(first, first + number))
    assert part == same and hash(part) == hash(same)
    assert pickle.loads(pickle.dumps(part)) == copy.copy(part) == part
    assert (part.num_tokens, part.num_reqs) == (size, number)
    assert part.is_empty is (size == 0 or number == 0)
    assert type(part.token_slice.start) is int


def test_a_slice_starts_at_zero_if_not_said() -> None:
    assert UBatchSlice(token_slice=slice(4), req_slice=slice(2)) == UBatchSlice.from_range(0, 4, 0, 2)


def test_by_count_and_limit_for_all_small_sizes() -> None:
    """The fewest parts from the count on of which none is above the limit."""
    for count in range(1, 31):
        for number in range(1, count + 1):
            for limit in range(1, count + 1):
                for splitter, largest in (
                    ("even", lambda k, n=count: -(-n // k)),
                    ("floor", lambda k, n=count: n - (k - 1) * (n // k)),
                ):
                    fewest = next(k for k in range(number, count + 1) if largest(k) <= limit)
                    both = cut(rows(count), splitter=splitter, num_ubatches=number, limit=limit)
                    assert both.slices == cut(rows(count), splitter=splitter, num_ubatches=fewest).slices


@given(SHAPES, st.sampled_from(SPLITTERS[:4]), st.data())
def test_as_many_parts_as_can_be_filled_and_no_more(
    shape: BatchShape, splitter: str, data: st.DataObject
) -> None:
    most = most_ubatches(shape, splitter)
    number = data.draw(st.integers(1, most))
    assert len(cut(shape, splitter=splitter, num_ubatches=number).slices) == number
    with pytest.raises(SliceError, match="cannot fill"):
        cut(shape, splitter=splitter, num_ubatches=most + 1)
