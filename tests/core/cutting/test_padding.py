"""Padded batches as numbers: where they are cut, which rows are real, and that the parts are vLLM's."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.cutting.boundaries import is_last_ubatch_empty
from microbatch.cutting.cut import cut, most_ubatches, validate_cut
from microbatch.cutting.slices import BatchShape, Cut, UBatchSlice, padded_twin
from microbatch.errors import ArgumentValueError, SliceError

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@st.composite
def padded_shapes(draw: st.DrawFn, *, least: int = 1) -> BatchShape:
    """Tokens of requests, none of them empty, with padding of both, of one or of neither."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=least, max_size=8))
    starts = np.cumsum([0, *lengths])
    tokens, requests = int(starts[-1]), len(lengths)
    return BatchShape(
        num_tokens=tokens,
        num_requests=requests,
        query_start_loc=starts,
        num_tokens_padded=max(1, tokens + draw(st.integers(0, 40))),
        num_reqs_padded=max(1, requests + draw(st.integers(0, 4))),
    )


def vllm_slices(shape: BatchShape, count: int) -> list[tuple[int, int, int, int]]:
    """`maybe_create_ubatch_slices` with V2's clamps, one number after another: the padded list."""
    assert shape.query_start_loc is not None
    offsets = shape.query_start_loc.tolist()
    size = shape.tokens_to_run // count
    bounds = [*(size * index for index in range(count)), shape.tokens_to_run]
    made = []
    for start, stop in pairwise(bounds):
        first = max(index for index, offset in enumerate(offsets) if offset <= start)
        first = min(first, shape.num_requests - 1)
        beyond = [index for index, offset in enumerate(offsets) if offset >= stop]
        last = min(beyond[0] if beyond else shape.num_requests, shape.num_requests)
        made.append((start, stop, first, last))
    start, stop, first, _ = made[-1]
    return [*made[:-1], (start, stop, first, shape.requests_to_run)]


def numbers(part: UBatchSlice) -> tuple[int, int, int, int]:
    tokens, requests = part.token_slice, part.req_slice
    return tokens.start, tokens.stop, requests.start, requests.stop


@given(padded_shapes(), st.integers(1, 6))
def test_the_floor_rule_on_a_padded_batch_is_that_of_vllm(shape: BatchShape, count: int) -> None:
    """The padded list is vLLM's, parts of padding alone too; where vLLM has none, so is the other list."""
    count = min(count, shape.tokens_to_run)
    made = cut(shape, splitter="floor", num_ubatches=count)
    assert [numbers(part) for part in made.slices] == vllm_slices(shape, count)
    if not is_last_ubatch_empty(shape.num_tokens, shape.tokens_to_run, count):
        plain = BatchShape(
            num_tokens=shape.num_tokens,
            num_requests=shape.num_requests,
            query_start_loc=shape.query_start_loc,
        )
        real = cut(plain, splitter="floor", num_ubatches=count, num_tokens_padded=shape.tokens_to_run)
        assert made.unpadded == real.slices
        assert made.slices == padded_twin(real.slices, shape.tokens_to_run, shape.requests_to_run)


@given(padded_shapes(), st.integers(1, 9), st.sampled_from(["even", "floor", "explicit"]), st.data())
def test_each_real_token_is_in_one_part_and_padding_comes_last(
    shape: BatchShape, count: int, splitter: str, data: st.DataObject
) -> None:
    options: dict[str, Any] = {"num_ubatches": min(count, shape.tokens_to_run)}
    if splitter == "explicit":
        inner = st.sets(st.integers(1, max(1, shape.tokens_to_run - 1)), max_size=4)
        options = {"boundaries": sorted(data.draw(inner)) if shape.tokens_to_run > 1 else []}
    made = cut(shape, splitter=splitter, **options)
    assert made.unpadded is not None
    real = [token for part in made.real for token in range(part.token_slice.start, part.token_slice.stop)]
    assert real == list(range(shape.num_tokens))
    run = [token for part in made.slices for token in range(part.token_slice.start, part.token_slice.stop)]
    assert run == list(range(shape.tokens_to_run))
    assert made.real_tokens == tuple(part.num_tokens for part in made.unpadded)
    for part, whole in zip(made.unpadded, made.slices, strict=True):
        assert not whole.is_empty
        assert part.is_empty or part.token_slice.start == whole.token_slice.start
    held = {request for part in made.real for request in range(part.req_slice.start, part.req_slice.stop)}
    assert held == set(range(shape.num_requests))
    assert made.slices[-1].req_slice.stop == shape.requests_to_run
    assert validate_cut(made, shape) is made


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 6))
def test_padded_rows_are_requests_of_their_own(rows: int, more: int, count: int) -> None:
    shape = BatchShape(num_tokens=rows, num_requests=rows, num_tokens_padded=rows + more)
    made = cut(shape, num_ubatches=max(1, min(count, rows + more)))
    assert all(part.token_slice == part.req_slice for part in (*made.slices, *made.real))
    assert sum(made.real_tokens) == rows
    assert sum(part.num_tokens for part in made.slices) == rows + more


def test_a_rank_without_rows_has_parts_of_padding_alone() -> None:
    made = cut(
        BatchShape(num_tokens=0, num_requests=0, num_tokens_padded=6, num_reqs_padded=2), num_ubatches=3
    )
    assert made.real_tokens == (0, 0, 0)
    assert [part.num_tokens for part in made.slices] == [2, 2, 2]
    assert [part.num_reqs for part in made.slices] == [1, 1, 2]


def test_the_starts_of_padded_requests_are_left_out() -> None:
    starts = np.array([0, 2, 5, 5, 5])
    shape = BatchShape(
        num_tokens=5, num_requests=2, query_start_loc=starts, num_tokens_padded=8, num_reqs_padded=4
    )
    assert cut(shape, num_ubatches=2).real_tokens == (4, 1)


@given(
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(1, 6),
    st.sampled_from(["even", "floor"]),
    st.booleans(),
)
def test_sizes_are_multiples_all_but_the_last(
    tokens: int, multiple: int, count: int, splitter: str, by_limit: bool
) -> None:
    shape = BatchShape(num_tokens=tokens, num_requests=tokens)
    count = min(count, most_ubatches(shape, splitter, multiple))
    wanted = {"limit": multiple * count} if by_limit else {"num_ubatches": count}
    made = cut(shape, splitter=splitter, multiple_of=multiple, **wanted)
    sizes = [part.num_tokens for part in made.slices]
    assert sum(sizes) == tokens
    assert all(size % multiple == 0 for size in sizes[:-1])
    assert max(sizes) <= multiple * count if by_limit else len(sizes) == count
    if splitter == "even":
        assert max(sizes[:-1], default=0) - min(sizes[:-1], default=0) <= multiple


def test_a_limit_below_the_multiple_goes_first() -> None:
    made = cut(BatchShape(num_tokens=20, num_requests=20), limit=5, multiple_of=8)
    assert max(part.num_tokens for part in made.slices) == 5


ROWS = BatchShape(num_tokens=4, num_requests=4, num_tokens_padded=8)
WRONG = [
    (
        BatchShape(num_tokens=4, num_requests=4, num_tokens_padded=3),
        {},
        "num_tokens_padded is 3, below the 4",
    ),
    (BatchShape(num_tokens=4, num_requests=2, num_reqs_padded=1), {}, "num_reqs_padded is 1, below the 2"),
    (
        BatchShape(num_tokens=0, num_requests=0, num_tokens_padded=4, num_reqs_padded=0),
        {},
        "pad the requests",
    ),
    (
        BatchShape(num_tokens=2, num_requests=2, lengths=np.array([1, 2]), num_tokens_padded=4),
        {},
        "has lengths and padded counts",
    ),
    (ROWS, {"splitter": "packed"}, "the batch is padded and the splitter is packed"),
    (ROWS, {"splitter": "floor", "num_tokens_padded": 9}, "leave num_tokens_padded out"),
    (ROWS, {"num_ubatches": 9}, "cannot fill 9 ubatches"),
    (ROWS, {"splitter": "request-aligned", "multiple_of": 2}, "which cuts elsewhere"),
]


@pytest.mark.parametrize(("shape", "options", "told"), WRONG, ids=[told for *_, told in WRONG])
def test_what_cannot_be_padded_so_is_named(shape: BatchShape, options: dict[str, Any], told: str) -> None:
    with pytest.raises((SliceError, ArgumentValueError), match=told):
        cut(shape, **{"num_ubatches": 2, **options})


def test_a_cut_that_does_not_fit_the_batch_is_named() -> None:
    shape = BatchShape(num_tokens=5, num_requests=2, query_start_loc=np.array([0, 3, 5]), num_tokens_padded=8)
    made = cut(shape, num_ubatches=2)
    assert made.unpadded is not None
    other = Cut(slices=made.slices[:1] * 2, unpadded=made.unpadded)
    with pytest.raises(SliceError, match="overlap"):
        validate_cut(other, shape)
    with pytest.raises(SliceError, match="is not within slice 0"):
        validate_cut(Cut(slices=made.slices, unpadded=(made.unpadded[1], made.unpadded[0])), ROWS)
