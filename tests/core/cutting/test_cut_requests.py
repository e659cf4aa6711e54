"""The splitters that follow requests: request-aligned and packed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.cutting.cut import cut, most_ubatches
from microbatch.cutting.slices import BatchShape, Cut

FILLED = st.lists(st.integers(1, 30), min_size=1, max_size=30)
LENGTHS = st.lists(st.integers(0, 30), min_size=1, max_size=30).filter(any)
LIMITS = st.integers(1, 120)


def tokens(lengths: list[int]) -> BatchShape:
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return BatchShape(num_tokens=int(offsets[-1]), num_requests=len(lengths), query_start_loc=offsets)


def padded(lengths: list[int]) -> BatchShape:
    return BatchShape(
        num_tokens=len(lengths), num_requests=len(lengths), lengths=np.array(lengths, dtype=np.int64)
    )


def sizes(made: Cut) -> list[int]:
    return [part.num_tokens for part in made.slices]


def groups(made: Cut, lengths: list[int]) -> list[list[int]]:
    """The lengths of each part's requests, in cut order."""
    order = range(len(lengths)) if made.permutation is None else made.permutation.tolist()
    ordered = [lengths[request] for request in order]
    return [ordered[part.req_slice] for part in made.slices]


def partitions(items: list[int], count: int) -> list[list[list[int]]]:
    """All ways to cut `items` into `count` ranges that are not empty."""
    cuts = combinations(range(1, len(items)), count - 1)
    return [[items[a:b] for a, b in pairwise((0, *inner, len(items)))] for inner in cuts]


def padded_cost(group: list[int]) -> int:
    return max(1, max(group)) * len(group)


def sglang_split(lengths: list[int]) -> list[int]:
    """Sizes of the two parts by SGLang's rule, one request after another."""
    total, left, best, least = sum(lengths), 0, 0, float("inf")
    for length in lengths[:-1]:
        left += length
        difference = abs(left - (total - left))
        if difference > least:
            break
        least, best = difference, left
    if best < total * 0.48 or best > total * (1 - 0.48):
        best = total // 2
    return [best, total - best]


@given(FILLED.filter(lambda lengths: sum(lengths) > 1))
def test_two_aligned_parts_follow_sglangs_balance_rule(lengths: list[int]) -> None:
    made = cut(tokens(lengths), splitter="request-aligned", num_ubatches=2)
    if sum(lengths) == len(lengths):  # one token each: whole requests in any case
        assert abs(np.diff(sizes(made)))[0] <= 1
    else:
        assert sizes(made) == sglang_split(lengths)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([50, 50], [50, 50]),
        ([48, 52], [48, 52]),
        ([47, 53], [50, 50]),
        ([100], [50, 50]),
        ([101], [50, 51]),
        ([10, 10, 80], [50, 50]),
        ([40, 9, 2, 9, 40], [51, 49]),
    ],
)
def test_two_chunks_below_a_share_of_048(lengths: list[int], expected: list[int]) -> None:
    assert sizes(cut(tokens(lengths), splitter="request-aligned", num_ubatches=2)) == expected


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [([96, 96, 108], [100] * 3), ([94, 103, 103], [100] * 3), ([97, 100, 103], [97, 100, 103])],
)
def test_the_shares_hold_for_three_parts_too(lengths: list[int], expected: list[int]) -> None:
    assert sizes(cut(tokens(lengths), splitter="request-aligned", num_ubatches=3)) == expected


@pytest.mark.parametrize("lengths", [[100, 1, 1], [1, 1, 100], [1, 100, 1]])
def test_aligned_whole_requests_never_leave_a_part_without_one(lengths: list[int]) -> None:
    made = cut(tokens(lengths), splitter="request-aligned", num_ubatches=3, balance=0)
    assert sizes(made) == lengths


def test_aligned_by_limit_levels_beside_one_that_is_too_large() -> None:
    assert sizes(cut(tokens([50, 4, 4, 4, 4]), splitter="request-aligned", limit=12)) == [50, 8, 8]


@given(LENGTHS, st.data())
def test_aligned_with_balance_zero_never_cuts_a_request(lengths: list[int], data: st.DataObject) -> None:
    number = data.draw(st.integers(1, np.count_nonzero(lengths)))
    shape = tokens(lengths)
    made = cut(shape, splitter="request-aligned", num_ubatches=number, balance=0)
    assert len(made.slices) == number
    assert shape.query_start_loc is not None
    assert {part.token_slice.start for part in made.slices} <= set(shape.query_start_loc.tolist())
    assert sum(part.num_reqs for part in made.slices) == len(lengths)


@given(FILLED, st.data())
def test_aligned_parts_are_never_far_from_fair(lengths: list[int], data: st.DataObject) -> None:
    shape = tokens(lengths)
    number = data.draw(st.integers(1, shape.num_tokens))
    made = cut(shape, splitter="request-aligned", num_ubatches=number)
    fair = shape.num_tokens / number
    assert len(made.slices) == number
    assert all(min(0.96 * fair, fair - 1) <= size <= max(1.04 * fair, fair + 1) for size in sizes(made))


@given(LENGTHS, LIMITS)
def test_aligned_by_limit_makes_the_fewest_whole_parts_and_levels_them(
    lengths: list[int], limit: int
) -> None:
    made = cut(tokens(lengths), splitter="request-aligned", limit=limit)
    assert made.permutation is None
    parts = groups(made, lengths)
    assert [length for part in parts for length in part] == lengths
    filled = [[length for length in part if length] for part in parts]
    assert all(sum(part) <= limit or len(part) == 1 for part in filled)
    for part, following in pairwise(filled):
        alone = max(part[0], following[0]) > limit
        assert alone or sum(part) + sum(following) > limit


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(9, 30))
def test_aligned_by_limit_is_as_level_as_can_be(lengths: list[int], limit: int) -> None:
    made = cut(tokens(lengths), splitter="request-aligned", limit=limit)
    count = len(made.slices)
    if sum(lengths) == len(lengths):
        return
    best = min(max(map(sum, parts)) for parts in partitions(lengths, count))
    assert max(sizes(made)) == best
    if count > 1:
        assert all(max(map(sum, parts)) > limit for parts in partitions(lengths, count - 1))


@given(LENGTHS, LIMITS, st.booleans())
def test_packed_keeps_the_budget_except_for_one_too_large(lengths: list[int], limit: int, rows: bool) -> None:
    made = cut((padded if rows else tokens)(lengths), splitter="packed", limit=limit)
    cost = padded_cost if rows else sum
    for group in groups(made, lengths):
        assert cost(group) <= limit or sum(length > 0 for length in group) == 1
        if rows and cost(group) > limit:
            assert len(group) == 1


@given(LENGTHS, LIMITS, st.booleans())
def test_packed_is_longest_first_in_the_fewest_parts(lengths: list[int], limit: int, rows: bool) -> None:
    made = cut((padded if rows else tokens)(lengths), splitter="packed", limit=limit)
    cost = padded_cost if rows else sum
    parts = groups(made, lengths)
    assert [length for part in parts for length in part] == sorted(lengths, reverse=True)
    for part, following in pairwise(parts):
        assert cost([*part, following[0]]) > limit


@given(LENGTHS, LIMITS, st.booleans())
def test_the_permutation_is_one_and_keeps_equals_in_order(lengths: list[int], limit: int, rows: bool) -> None:
    made = cut((padded if rows else tokens)(lengths), splitter="packed", limit=limit)
    expected = sorted(range(len(lengths)), key=lambda request: -lengths[request])
    if made.permutation is None:
        assert expected == list(range(len(lengths)))
    else:
        assert made.permutation.tolist() == expected != list(range(len(lengths)))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8).filter(any), st.booleans(), st.data())
def test_packed_by_count_is_as_level_as_can_be(lengths: list[int], rows: bool, data: st.DataObject) -> None:
    most = len(lengths) if rows else np.count_nonzero(lengths)
    number = data.draw(st.integers(1, int(most)))
    made = cut((padded if rows else tokens)(lengths), splitter="packed", num_ubatches=number)
    assert len(made.slices) == number
    assert not any(part.is_empty for part in made.slices)
    cost = padded_cost if rows else sum
    best = min(max(map(cost, parts)) for parts in partitions(sorted(lengths, reverse=True), number))
    assert max(map(cost, groups(made, lengths))) == best


def test_packed_without_lengths_keeps_the_order() -> None:
    made = cut(BatchShape(num_tokens=10, num_requests=10), splitter="packed", limit=4)
    assert (sizes(made), made.permutation) == ([4, 3, 3], None)
    made = cut(BatchShape(num_tokens=10, num_requests=4), splitter="packed", limit=4)
    assert (sizes(made), made.permutation) == ([2, 3, 2, 3], None)


def test_sorting_avoids_the_padding_that_the_sizing_study_measured() -> None:
    lengths = (
        np.clip(np.random.default_rng(0).lognormal(np.log(300), 1.1, 4096), 1, 8192).astype(int).tolist()
    )
    made = cut(padded(lengths), splitter="packed", limit=32768)
    assert made.trims is not None
    run = sum(trim * part.num_reqs for trim, part in zip(made.trims, made.slices, strict=True))
    assert (run - sum(lengths)) / run < 0.05
    assert made.padding_avoided == len(lengths) * max(lengths) - run


KINDS = ("request-aligned", "packed", "packed rows")
"""A splitter, and whether the requests are rows of a padded batch."""


def keeps(made: Cut, limit: int, lengths: list[int], kind: str) -> bool:
    """Whether each part is within the limit, or of one request."""
    cost = padded_cost if kind == "packed rows" else sum
    if kind.startswith("packed"):
        found = groups(made, lengths)
        if kind != "packed rows":  # a request without tokens takes no place; a row of padding alone takes one
            found = [[length for length in group if length] or [0] for group in found]
        return all(cost(group) <= limit or len(group) == 1 for group in found)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    parts = [owner[part.token_slice] for part in made.slices]
    return all(len(part) <= limit or len(set(part.tolist())) == 1 for part in parts)


@given(LENGTHS, st.integers(1, 40), st.sampled_from(KINDS), st.data())
def test_by_count_and_limit_it_is_the_count_where_that_keeps_the_limit(
    lengths: list[int], limit: int, kind: str, data: st.DataObject
) -> None:
    """Never fewer parts than the count, and always within the limit."""
    splitter, shape = kind.split()[0], (padded if kind == "packed rows" else tokens)(lengths)
    number = data.draw(st.integers(1, most_ubatches(shape, splitter)))
    by_count = cut(shape, splitter=splitter, num_ubatches=number)
    both = cut(shape, splitter=splitter, num_ubatches=number, limit=limit)
    assert len(both.slices) >= number
    assert keeps(both, limit, lengths, kind)
    if keeps(by_count, limit, lengths, kind):
        assert len(both.slices) == number


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.integers(1, 20),
    st.sampled_from(KINDS),
    st.data(),
)
def test_by_count_and_limit_it_has_more_parts_only_where_it_must(
    lengths: list[int], limit: int, kind: str, data: st.DataObject
) -> None:
    splitter, shape = kind.split()[0], (padded if kind == "packed rows" else tokens)(lengths)
    number = data.draw(st.integers(1, len(lengths)))
    both = cut(shape, splitter=splitter, num_ubatches=number, limit=limit)
    order = sorted(lengths, reverse=True) if splitter == "packed" else lengths
    cost = padded_cost if kind == "packed rows" else sum
    enough = any(
        all(cost(group) <= limit or len(group) == 1 for group in parts) for parts in partitions(order, number)
    )
    inside = keeps(cut(shape, splitter=splitter, num_ubatches=number), limit, lengths, kind)
    assert len(both.slices) == number if enough or inside else len(both.slices) > number


@pytest.mark.parametrize("make", [tokens, padded])
def test_packed_by_count_and_limit_one_too_large_makes_no_other_part_larger(
    make: Callable[[list[int]], BatchShape],
) -> None:
    made = cut(make([1, 9, 1, 1, 1]), splitter="packed", num_ubatches=3, limit=2)
    assert groups(made, [1, 9, 1, 1, 1]) == [[9], [1, 1], [1, 1]]


def test_aligned_by_count_and_limit_takes_other_boundaries_before_more_parts() -> None:
    """The boundaries nearest to equal shares need not be those whose largest part is smallest."""
    shape, aligned = tokens([4, 38, 1, 43, 1, 40]), {"splitter": "request-aligned", "num_ubatches": 3}
    assert sizes(cut(shape, **aligned)) == [42, 44, 41]
    assert sizes(cut(shape, **aligned, limit=44)) == [42, 44, 41]
    assert sizes(cut(shape, **aligned, limit=43)) == [43, 43, 41]
    assert sizes(cut(shape, **aligned, limit=42)) == [4, 39, 43, 41]


@pytest.mark.parametrize(
    ("lengths", "number", "limit", "expected"),
    [
        ([100, 1, 1, 1, 1], 6, 2, [25, 25, 25, 25, 2, 2]),
        ([100, 1, 1, 1, 1], 3, 2, [100, 2, 2]),
        ([100, 1, 1, 1, 1], 2, 2, [100, 2, 2]),
        ([1, 30, 1, 60, 1], 7, 5, [1, 15, 15, 1, 30, 30, 1]),
        ([10, 10], 3, 8, [6, 7, 7]),
    ],
)
def test_aligned_by_count_and_limit_cuts_what_is_too_large_in_any_case(
    lengths: list[int], number: int, limit: int, expected: list[int]
) -> None:
    made = cut(tokens(lengths), splitter="request-aligned", num_ubatches=number, limit=limit)
    assert sizes(made) == expected
