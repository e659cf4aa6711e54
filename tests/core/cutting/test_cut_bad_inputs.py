"""Batches, counts, boundaries and slices that cannot be: the error says which and with what value."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from microbatch.cutting.boundaries import is_last_ubatch_empty
from microbatch.cutting.cut import SPLITTERS, cut, validate_slices
from microbatch.cutting.slices import BatchShape, UBatchSlice, padded_twin
from microbatch.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    MicrobatchError,
    SliceError,
    UnknownNameError,
)


def rows(count: Any) -> BatchShape:
    return BatchShape(num_tokens=count, num_requests=count)


def starts(*offsets: int, num_tokens: int | None = None, dtype: Any = np.int64) -> BatchShape:
    array = np.array(offsets, dtype)
    total = int(array[-1]) if num_tokens is None else num_tokens
    return BatchShape(num_tokens=total, num_requests=len(array) - 1, query_start_loc=array)


def refused(kind: type[MicrobatchError], *texts: str, **arguments: Any) -> None:
    """`cut` raises `kind` with all of `texts`, and the next valid call works."""
    shape = arguments.pop("shape", rows(10))
    with pytest.raises(kind) as caught:
        cut(shape, **arguments)
    message = str(caught.value)
    assert all(text in message for text in texts), message
    assert not message[0].isupper() and ("; " in message or "did you mean" in message or "must be" in message)
    assert len(cut(rows(10), num_ubatches=2).slices) == 2


def uncovered(
    slices: Any, *texts: str, shape: BatchShape | None = None, kind: type[MicrobatchError] = SliceError
) -> None:
    with pytest.raises(kind) as caught:
        validate_slices(slices, rows(18) if shape is None else shape)
    assert all(text in str(caught.value) for text in texts), str(caught.value)


def row_slices(*ranges: tuple[int, int]) -> list[UBatchSlice]:
    return [UBatchSlice.from_range(start, stop, start, stop) for start, stop in ranges]


def test_requests_without_tokens() -> None:
    refused(SliceError, "3 requests but 0 tokens", shape=BatchShape(num_tokens=0, num_requests=3), limit=4)
    refused(SliceError, "3 requests but 0 tokens", shape=starts(0, 0, 0, 0), limit=4)


def test_tokens_without_requests() -> None:
    refused(SliceError, "5 tokens but 0 requests", shape=BatchShape(num_tokens=5, num_requests=0), limit=4)


def test_fewer_tokens_than_requests() -> None:
    shape = BatchShape(num_tokens=5, num_requests=8)
    refused(SliceError, "5 tokens cannot cover 8 requests", "query_start_loc", shape=shape, limit=4)


def test_offsets_that_do_not_start_at_zero() -> None:
    refused(SliceError, "query_start_loc[0] is 3", shape=starts(3, 5, 9), limit=4)


def test_offsets_that_decrease() -> None:
    refused(SliceError, "query_start_loc decreases at index 2 (12 to 9)", shape=starts(0, 12, 9, 20), limit=4)


def test_offsets_that_end_elsewhere() -> None:
    refused(SliceError, "query_start_loc[-1] is 48", "50 tokens", shape=starts(0, 48, num_tokens=50), limit=4)


def test_offsets_of_another_length_shape_or_kind() -> None:
    def with_offsets(offsets: Any) -> BatchShape:
        return BatchShape(num_tokens=4, num_requests=2, query_start_loc=offsets)

    refused(
        SliceError,
        "query_start_loc has 2 entries for 2 requests",
        shape=with_offsets(np.array([0, 4])),
        limit=4,
    )
    refused(
        SliceError, "query_start_loc has 2 dimensions", shape=with_offsets(np.zeros((3, 1), int)), limit=4
    )
    refused(
        ArgumentTypeError, "query_start_loc", "float64", shape=with_offsets(np.array([0.0, 2, 4])), limit=4
    )
    refused(ArgumentTypeError, "query_start_loc", "bool", shape=with_offsets(np.zeros(3, bool)), limit=4)


@pytest.mark.bad_input(49)
def test_totals_that_do_not_fit_int32_offsets() -> None:
    shape = starts(0, 2**31 - 1, num_tokens=3_221_225_472, dtype=np.int32)
    refused(SliceError, "3,221,225,472 tokens does not fit int32 offsets", "int64", shape=shape, limit=4)


def test_lengths_that_do_not_fit_the_rows() -> None:
    def with_lengths(*lengths: Any) -> BatchShape:
        return BatchShape(num_tokens=3, num_requests=3, lengths=np.array(lengths))

    refused(SliceError, "lengths has 2 entries", "3 rows", shape=with_lengths(1, 2), limit=4)
    refused(SliceError, "lengths[1] is -2", shape=with_lengths(1, -2, 4), limit=4)
    refused(ArgumentTypeError, "lengths", "float64", shape=with_lengths(1.0, 2.0, 3.0), limit=4)
    both = BatchShape(
        num_tokens=2, num_requests=2, query_start_loc=np.arange(3), lengths=np.ones(2, np.int64)
    )
    refused(SliceError, "query_start_loc and lengths", shape=both, limit=4)


@pytest.mark.parametrize("value", [True, 2.0, "2", None])
def test_batch_counts_of_the_wrong_kind(value: Any) -> None:
    refused(ArgumentTypeError, "num_tokens", str(value), shape=rows(value), limit=4)


def test_negative_batch_counts() -> None:
    refused(SliceError, "num_tokens is -1", shape=rows(-1), limit=4)


def test_overlapping_slices() -> None:
    uncovered(row_slices((0, 8), (8, 12), (10, 18)), "slices 1 and 2 overlap on tokens 10:12")


def test_a_gap() -> None:
    uncovered(row_slices((0, 12), (14, 18)), "tokens 12:14 belong to no slice")
    uncovered(row_slices((0, 12)), "tokens 12:18 belong to no slice")
    uncovered([], "tokens 0:18 belong to no slice")


def test_slices_out_of_order() -> None:
    uncovered(row_slices((8, 16), (0, 8)), "slice 1 (0:8) comes after slice 0 (8:16)")
    uncovered(row_slices((0, 2), (8, 18), (2, 8)), "slice 2 (2:8) comes after slice 1 (8:18)")


def test_a_slice_beyond_the_end() -> None:
    uncovered(row_slices((0, 8), (8, 20)), "slice 1 ends at 20 but there are 18 tokens")


def test_a_negative_start() -> None:
    with pytest.raises(SliceError, match="token_slice is -2; negative"):
        UBatchSlice(token_slice=slice(-2, 4), req_slice=slice(0, 4))
    with pytest.raises(SliceError, match="req_slice is -1; negative"):
        UBatchSlice.from_range(0, 4, 0, -1)


def test_a_slice_that_runs_backwards() -> None:
    with pytest.raises(SliceError, match="token_slice is 4:2"):
        UBatchSlice.from_range(4, 2, 0, 1)


def test_a_slice_with_a_step() -> None:
    with pytest.raises(SliceError, match="token_slice has step 2"):
        UBatchSlice(token_slice=slice(0, 4, 2), req_slice=slice(0, 4))


def test_a_slice_without_an_end() -> None:
    with pytest.raises(SliceError, match="req_slice has no end"):
        UBatchSlice(token_slice=slice(0, 4), req_slice=slice(2, None))


@pytest.mark.parametrize("value", [True, 2.0, "2", np.float64(3), np.True_])
def test_slice_ends_of_the_wrong_kind(value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="the end of token_slice"):
        UBatchSlice.from_range(0, value, 0, 1)
    with pytest.raises(ArgumentTypeError, match="token_slice"):
        UBatchSlice(token_slice=value, req_slice=slice(0, 1))


def test_slices_that_are_none() -> None:
    uncovered([slice(0, 18)], "ubatch_slices[0]", "slice", "from_range", kind=ArgumentTypeError)
    uncovered(4, "ubatch_slices is 4 (int)", kind=ArgumentTypeError)


def test_an_empty_slice() -> None:
    uncovered(row_slices((0, 8), (8, 8), (8, 18)), "ubatch 1 is empty")
    assert validate_slices(row_slices((0, 8), (8, 8), (8, 18)), rows(18), allow_empty=True)


@pytest.mark.parametrize(
    ("requests", "index"),
    [
        (((0, 1), (1, 3)), 1),
        (((0, 2), (2, 3)), 1),
        (((0, 3), (1, 3)), 1),
        (((1, 2), (1, 3)), 0),
        (((0, 2), (1, 2)), 1),
    ],
)
def test_requests_that_are_not_those_of_the_tokens(requests: Any, index: int) -> None:
    (a, b), (c, d) = requests
    slices = [UBatchSlice.from_range(0, 7, a, b), UBatchSlice.from_range(7, 15, c, d)]
    uncovered(slices, f"slice {index}", "requests", shape=starts(0, 5, 10, 15))
    right = [UBatchSlice.from_range(0, 7, 0, 2), UBatchSlice.from_range(7, 15, 1, 3)]
    assert validate_slices(right, starts(0, 5, 10, 15)) == tuple(right)


def test_a_finished_request_is_not_in_the_next_slice() -> None:
    slices = [UBatchSlice.from_range(0, 5, 0, 1), UBatchSlice.from_range(5, 10, 0, 2)]
    uncovered(slices, "slice 1", "which are 1:2", shape=starts(0, 5, 10))


@pytest.mark.parametrize("second", [(2, 4), (4, 6), (1, 6)])
def test_requests_of_counts_alone_must_follow_each_other(second: tuple[int, int]) -> None:
    shape = BatchShape(num_tokens=20, num_requests=6)
    wrong = [UBatchSlice.from_range(0, 9, 0, 3), UBatchSlice.from_range(9, 20, *second)]
    uncovered(wrong, "slice 1", "all 6 must be in a slice", shape=shape)
    for start in (2, 3):
        right = (wrong[0], UBatchSlice.from_range(9, 20, start, 6))
        assert validate_slices(right, shape) == right


def test_requests_without_tokens_may_be_on_either_side_of_a_cut() -> None:
    shape = starts(0, 5, 5, 9)
    for middle in (1, 2):
        slices = [UBatchSlice.from_range(0, 5, 0, middle), UBatchSlice.from_range(5, 9, middle, 3)]
        assert validate_slices(slices, shape) == tuple(slices)
    twice = [UBatchSlice.from_range(0, 5, 0, 2), UBatchSlice.from_range(5, 9, 1, 3)]
    uncovered(twice, "slice 1", shape=shape)


def test_rows_with_other_requests() -> None:
    uncovered([UBatchSlice.from_range(0, 18, 0, 17)], "slice 0", "each row is its own request")


@pytest.mark.parametrize("splitter", SPLITTERS[:4])
def test_more_ubatches_than_rows(splitter: str) -> None:
    refused(
        SliceError,
        "ubatch 3 would be empty",
        "3",
        "4",
        "use at most 3",
        shape=rows(3),
        splitter=splitter,
        num_ubatches=4,
    )


def test_more_parts_than_whole_requests() -> None:
    for splitter in ("packed", "request-aligned"):
        refused(
            SliceError,
            "2 requests",
            "3 ubatches",
            shape=starts(0, 5, 5, 9),
            splitter=splitter,
            num_ubatches=3,
            balance=0,
        )


@pytest.mark.parametrize("name", ["num_ubatches", "limit", "max_ubatches"])
@pytest.mark.parametrize("value", [0, -3])
def test_counts_below_one(name: str, value: int) -> None:
    arguments = {"num_ubatches": 2} if name == "max_ubatches" else {}
    refused(ArgumentValueError, f"{name} is {value}", **{**arguments, name: value})


@pytest.mark.parametrize("name", ["num_ubatches", "limit", "max_ubatches"])
@pytest.mark.parametrize("value", [True, 2.0, "2"])
def test_counts_of_the_wrong_kind(name: str, value: Any) -> None:
    arguments = {"num_ubatches": 2} if name == "max_ubatches" else {}
    refused(ArgumentTypeError, name, type(value).__name__, **{**arguments, name: value})


def test_counts_from_numpy_are_counts() -> None:
    assert cut(rows(np.int64(10)), num_ubatches=np.int32(2)) == cut(rows(10), num_ubatches=2)


def test_more_ubatches_than_the_cap() -> None:
    refused(SliceError, "1000000000", "65536", "max_ubatches", num_ubatches=10**9)
    refused(SliceError, "11", "10", shape=rows(11), limit=1, max_ubatches=10)
    refused(SliceError, "3", "2", splitter="explicit", boundaries=[1, 2], max_ubatches=2)


@pytest.mark.parametrize("splitter", SPLITTERS[:4])
@pytest.mark.parametrize(
    "shape",
    [rows(9), starts(*range(0, 19, 2)), BatchShape(num_tokens=9, num_requests=9, lengths=np.ones(9, int))],
)
def test_a_limit_that_makes_too_many_ubatches(splitter: str, shape: BatchShape) -> None:
    refused(SliceError, "limit 1", "cap of 5", shape=shape, splitter=splitter, limit=1, max_ubatches=5)


def test_a_count_or_a_limit_is_due() -> None:
    refused(ArgumentValueError, "neither of num_ubatches and limit")


@pytest.mark.parametrize("splitter", ["even", "floor"])
def test_with_both_each_is_checked(splitter: str) -> None:
    refused(ArgumentValueError, "num_ubatches is 0", splitter=splitter, num_ubatches=0, limit=3)
    refused(ArgumentValueError, "limit is 0", splitter=splitter, num_ubatches=2, limit=0)
    refused(SliceError, "cannot fill", splitter=splitter, shape=rows(3), num_ubatches=4, limit=3)
    told = "cap of 5"
    refused(SliceError, told, splitter=splitter, shape=rows(12), num_ubatches=2, limit=2, max_ubatches=5)


def test_an_unknown_splitter() -> None:
    refused(UnknownNameError, "'evn'", "did you mean 'even'?", splitter="evn", limit=3)


def test_boundaries_without_their_splitter_and_the_reverse() -> None:
    refused(ArgumentValueError, "boundaries were given", "even", boundaries=[2], limit=3)
    refused(ArgumentTypeError, "boundaries is None", splitter="explicit")
    refused(
        ArgumentValueError, "without num_ubatches and limit", splitter="explicit", boundaries=[2], limit=3
    )


@pytest.mark.parametrize(
    ("boundaries", "text"),
    [
        ([4, 2], "boundaries[1] is 2, after 4"),
        ([4, 11], "boundaries[1] is 11, but there are 10"),
        ([-1, 4], "boundaries[0] is -1"),
        ([4, 4], "ubatch 1 would be empty"),
        ([0, 0, 4], "ubatch 0 would be empty"),
    ],
)
def test_boundaries_of_the_wrong_value(boundaries: list[int], text: str) -> None:
    refused(SliceError, text, splitter="explicit", boundaries=boundaries)


@pytest.mark.parametrize("value", [True, 2.0, "2", None])
def test_boundaries_of_the_wrong_kind(value: Any) -> None:
    refused(ArgumentTypeError, "boundaries[1]", splitter="explicit", boundaries=[1, value])
    if value is not None:
        refused(ArgumentTypeError, "boundaries is", splitter="explicit", boundaries=value)


@pytest.mark.parametrize("value", [-0.1, 0.51, float("nan"), float("inf"), 48])
def test_balances_out_of_range(value: float) -> None:
    refused(
        ArgumentValueError,
        f"balance is {value}",
        shape=starts(0, 3, 9),
        splitter="request-aligned",
        num_ubatches=2,
        balance=value,
    )


@pytest.mark.parametrize("value", [True, "0.48", None])
def test_balances_of_the_wrong_kind(value: Any) -> None:
    refused(
        ArgumentTypeError,
        "balance",
        shape=starts(0, 3, 9),
        splitter="request-aligned",
        num_ubatches=2,
        balance=value,
    )


def test_padding_only_adds() -> None:
    refused(
        ArgumentValueError,
        "num_tokens_padded is for the splitter floor",
        num_ubatches=2,
        num_tokens_padded=12,
    )
    refused(
        SliceError,
        "num_tokens_padded is 9",
        "10 tokens",
        splitter="floor",
        num_ubatches=2,
        num_tokens_padded=9,
    )
    slices = row_slices((0, 5), (5, 10))
    with pytest.raises(SliceError, match="num_tokens_padded is 9, below the 10"):
        padded_twin(slices, 9, 10)
    with pytest.raises(SliceError, match="num_reqs_padded is 9, below the 10"):
        padded_twin(slices, 10, 9)
    with pytest.raises(SliceError, match="no slices"):
        padded_twin([], 10, 9)


def test_counts_of_the_padding_question() -> None:
    with pytest.raises(ArgumentValueError, match="num_ubatches is 0"):
        is_last_ubatch_empty(3, 4, 0)
    with pytest.raises(SliceError, match="num_tokens is -3"):
        is_last_ubatch_empty(-3, 4, 2)


@pytest.mark.parametrize("named", [{}, {"req_slice": slice(0, 1)}, {"token_slice": slice(0, 1)}])
@pytest.mark.parametrize("unnamed", [(slice(0, 1),), (slice(0, 1), slice(0, 4)), ()])
def test_slices_without_their_names_are_refused(unnamed: Any, named: Any) -> None:
    """vLLM's order is the other way round: what passed in silence would cut something else."""
    with pytest.raises(ArgumentTypeError, match=r"token_slice=\.\.\.|; give a slice"):
        UBatchSlice(*unnamed, **named)


def test_requests_are_named_once() -> None:
    first = slice(0, 1)
    with pytest.raises(ArgumentTypeError, match="are both given"):
        UBatchSlice(token_slice=first, req_slice=first, request_slice=first)  # type: ignore[call-overload]
    with pytest.raises(SliceError, match="request_slice has no end"):
        UBatchSlice(token_slice=slice(0, 1), request_slice=slice(0, None))


def test_the_name_of_vllm_is_taken_and_reads_the_same() -> None:
    part = UBatchSlice(token_slice=slice(2, 6), request_slice=slice(1, 3))
    assert part == UBatchSlice.from_range(2, 6, 1, 3)
    assert part.request_slice is part.req_slice
    for copied in (
        copy.deepcopy(part), pickle.loads(pickle.dumps(part)), dataclasses.replace(part), eval(repr(part)),
    ):  # fmt: skip
        assert (copied, hash(copied)) == (part, hash(part))
