"""Which leaf is what: declared, or inferred from sizes; and the parts that a ubatch gets."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.binding.call import Call
from microbatch.binding.rules import (
    Layout,
    computed_tokens,
    per_ubatch,
    query_start_loc,
    replicate,
    requests,
    seq_lens,
    tokens,
)
from microbatch.cutting.cut import cut
from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import LayoutError
from tests.support.binding import bind

Run = Callable[..., Any]


def part(batch: Any, start: int, stop: int, *requests: int) -> Any:
    first, last = requests or (start, stop)
    return batch.part(UBatchSlice.from_range(start, stop, first, last))


def test_one_array_is_a_batch_of_its_rows(backend: Any) -> None:
    x = np.arange(12.0).reshape(6, 2)
    batch = bind(None, (x,), {}, backend=backend)
    assert (batch.shape.num_tokens, batch.shape.num_requests) == (6, 6)
    (cut_part,), kwargs = part(batch, 2, 5)
    assert np.shares_memory(cut_part, x)
    assert kwargs == {}
    np.testing.assert_array_equal(cut_part, x[2:5])


@given(rows=st.integers(1, 50), wide=st.integers(1, 5))
def test_the_signature_says_nothing_of_the_number_of_rows(backend: Any, rows: int, wide: int) -> None:
    def signature(count: int, kind: str) -> str:
        tree = {"x": np.zeros((count, wide), kind), "flag": True}
        return bind(None, (tree,), {}, backend=backend).signature

    assert signature(rows, "f4") == signature(rows + 1, "f4") != signature(rows, "f8")
    single = [
        bind(None, (np.zeros((count, wide)),), {}, backend=backend).signature for count in (rows, rows + 3)
    ]
    assert single[0] == single[1] != bind(None, (np.zeros((rows, wide + 1)),), {}, backend=backend).signature


def test_bytes_per_unit_count_the_leaves_that_are_cut(backend: Any) -> None:
    layout = Layout(inputs={"table": replicate()})
    tree = {"x": np.zeros((4, 8), "f4"), "y": np.zeros(4, "f8"), "table": np.zeros((999, 9))}
    batch = bind(layout, (tree,), {}, backend=backend)
    assert (batch.bytes_per_unit, batch.largest_bytes_per_unit) == (40, 32)
    layout = Layout(inputs={"mask": tokens(trim=1)}, lengths="mask")
    batch = bind(layout, (), {"mask": np.ones((4, 10), "i8")}, backend=backend)
    assert batch.bytes_per_unit == 8


def test_an_empty_batch_has_no_rows(backend: Any) -> None:
    batch = bind(None, (np.zeros((0, 3)),), {}, backend=backend)
    assert batch.shape.num_tokens == 0
    assert batch.bytes_per_unit == 0
    assert batch.signature


def test_constants_reach_every_ubatch_as_they_are(backend: Any) -> None:
    class Config:
        pass

    config, zero = Config(), np.array(3.0)
    args = (np.arange(4), "text", b"raw", 5, None, zero, config, [1, "a"], np.float32(1))
    (x, *rest), _ = part(bind(None, args, {}, backend=backend), 1, 3)
    assert len(x) == 2
    assert rest[4] is zero
    assert rest[5] is config
    assert rest[:4] == ["text", b"raw", 5, None]
    assert rest[6] == [1, "a"]


@pytest.mark.pitfall(21)
@given(rows=st.integers(2, 9), count=st.integers(1, 9))
def test_a_leaf_with_as_many_rows_by_accident_is_whole_where_declared(
    backend: Any, rows: int, count: int
) -> None:
    """A square weight, a mask that is broadcast and a list, each as long as the batch."""
    x, weight, mask = np.arange(rows * rows * 1.0).reshape(rows, rows), np.eye(rows) * 3, np.ones((rows, 1))
    table = list(range(rows))
    whole = {"weight": replicate(), "mask": replicate(), "table": replicate()}
    layout = Layout(inputs={"x": tokens(), **whole})
    batch = bind(layout, (), {"x": x, "weight": weight, "mask": mask, "table": table}, backend=backend)
    done = []
    for piece in cut(batch.shape, num_ubatches=min(count, rows)).slices:
        _, given_ = part(batch, piece.token_slice.start, piece.token_slice.stop)
        assert given_["weight"] is weight and given_["mask"] is mask and given_["table"] == table
        done.append(given_["x"] @ given_["weight"])
    np.testing.assert_array_equal(np.concatenate(done), x @ weight)


@pytest.mark.pitfall(21)
def test_a_broadcast_leaf_that_no_rule_covers_is_an_error_and_not_cut(backend: Any) -> None:
    call = {"x": np.ones((6, 4)), "mask": np.ones((1, 4))}
    with pytest.raises(LayoutError, match="mask"):
        bind(None, (), call, backend=backend, strict=True)
    batch = bind(None, (), {"x": call["x"], "zmask": call["mask"]}, backend=backend)
    assert part(batch, 0, 2)[1]["zmask"] is call["mask"]  # whole, and shown to be right before it is cut


@pytest.mark.parametrize(
    "pattern", ["mask", "batch.mask", "0.mask", "*.mask", "m?sk", "batch", "0"], ids=lambda pattern: pattern
)
def test_a_pattern_names_a_leaf_or_what_holds_it(backend: Any, pattern: str) -> None:
    layout = Layout(inputs={"ids": tokens(), pattern: tokens(1)})
    tree = {"ids": np.zeros(4), "mask": np.zeros((7, 4))}
    if pattern in ("batch", "0"):
        layout = Layout(inputs={"ids": tokens(), pattern: tokens(-1)})
    batch = bind(layout, (tree,), {}, backend=backend, names=("batch",))
    (cut_tree,), _ = part(batch, 1, 3)
    assert cut_tree["mask"].shape == (7, 2)
    assert cut_tree["ids"].shape == (2,)


def test_a_number_names_a_position_and_not_an_index_further_in(backend: Any) -> None:
    table = np.zeros((9, 2))
    layout = Layout(inputs={"1": replicate()})
    args = ((np.zeros(4), np.ones(4)), table)
    ((first, second), same), _ = part(bind(layout, args, {}, backend=backend), 0, 1)
    assert len(first) == len(second) == 1
    assert same is table


def test_a_wildcard_names_the_leaves_of_a_list_and_not_the_list(backend: Any) -> None:
    layout = Layout(inputs={"x*": tokens(1)})
    columns = [np.zeros((2, 4)), np.zeros((9, 4))]
    _, kwargs = part(bind(layout, (), {"xs": columns}, backend=backend), 1, 3)
    assert [array.shape for array in kwargs["xs"]] == [(2, 2), (9, 2)]


def test_sizes_tell_tokens_from_requests(backend: Any) -> None:
    layout = Layout(inputs={"starts": query_start_loc()})
    kwargs = {"starts": np.array([0, 3, 5]), "ids": np.arange(5), "temperature": np.array([0.1, 0.2])}
    batch = bind(layout, (), kwargs, backend=backend)
    assert (batch.shape.num_tokens, batch.shape.num_requests) == (5, 2)
    _, cut_kwargs = part(batch, 3, 5, 1, 2)
    np.testing.assert_array_equal(cut_kwargs["ids"], [3, 4])
    np.testing.assert_array_equal(cut_kwargs["temperature"], [0.2])
    np.testing.assert_array_equal(cut_kwargs["starts"], [0, 2])


@pytest.mark.parametrize("dtype", ["i4", "i8", "u4"])
def test_a_straddling_request_is_counted_as_vllm_does(backend: Any, dtype: str) -> None:
    layout = Layout(inputs={"starts": query_start_loc(), "lens": seq_lens(), "done": computed_tokens()})
    starts, lens = np.array([0, 2, 10], dtype), np.array([20, 32], dtype)
    done = np.array([18, 24], dtype)
    given_arrays = [array.copy() for array in (starts, lens, done)]
    batch = bind(layout, (starts, lens, done), {}, backend=backend, names=("starts", "lens", "done"))
    first, _ = part(batch, 0, 6, 0, 2)
    second, _ = part(batch, 6, 10, 1, 2)
    assert [array.tolist() for array in first] == [[0, 2, 6], [20, 28], [18, 24]]
    assert [array.tolist() for array in second] == [[0, 4], [32], [28]]
    assert all(array.dtype == dtype for array in (*first, *second))
    for array, before in zip((starts, lens, done), given_arrays, strict=True):
        np.testing.assert_array_equal(array, before)


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=8), data=st.data())
def test_permuting_requests_moves_all_that_is_theirs(
    backend: Any, counts: list[int], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(len(counts))))
    starts = np.cumsum([0, *counts])
    layout = Layout(
        inputs={"0": query_start_loc(), "1": tokens(), "2": requests(), "3": requests(), "4": seq_lens()}
    )
    owner = np.repeat(np.arange(len(counts)), counts)
    names = [f"r{number}" for number in range(len(counts))]
    args = (starts, owner, np.arange(len(counts)), names, np.array(counts) + 9)
    batch = bind(layout, args, {}, backend=backend).permuted(order, backend)
    (moved, owners, numbers, moved_names, lens), _ = part(batch, 0, int(starts[-1]), 0, len(counts))
    np.testing.assert_array_equal(np.diff(moved), [counts[request] for request in order])
    np.testing.assert_array_equal(owners, np.repeat(order, np.diff(moved)))
    np.testing.assert_array_equal(numbers, order)
    assert moved_names == [names[request] for request in order]
    np.testing.assert_array_equal(lens, np.array(counts)[list(order)] + 9)
    np.testing.assert_array_equal(batch.shape.query_start_loc, moved)


def test_per_ubatch_sees_the_whole_value_and_the_slice(backend: Any) -> None:
    seen: list[Any] = []

    def build(value: Any, piece: Any, number: int) -> str:
        seen.append((value, piece.num_tokens, number))
        return f"meta {number}"

    meta = {"inner": [np.zeros((99, 2))]}
    batch = bind(Layout(inputs={"meta": per_ubatch(build)}), (np.zeros(4),), {"meta": meta}, backend=backend)
    made = cut(batch.shape, splitter="even", num_ubatches=2)
    parts = [batch.part(piece, None, number)[1]["meta"] for number, piece in enumerate(made.slices)]
    assert parts == ["meta 0", "meta 1"]
    assert seen == [(meta, 2, 0), (meta, 2, 1)]


def test_a_declared_list_is_cut_next_to_one_that_is_not(backend: Any) -> None:
    layout = Layout(inputs={"texts": tokens()})
    kwargs = {"texts": ["a", "b", "c"], "stop": ["x", "y"], "pair": [np.arange(3), None]}
    batch = bind(layout, (), kwargs, backend=backend)
    _, cut_kwargs = part(batch, 1, 3)
    assert cut_kwargs["texts"] == ["b", "c"]
    assert cut_kwargs["stop"] == ["x", "y"]
    assert cut_kwargs["pair"][0].tolist() == [1, 2]


@pytest.mark.parametrize("source", ["mask", "lens", "callable"])
def test_lengths_from_a_mask_a_leaf_or_a_function(backend: Any, source: str) -> None:
    mask = np.array([[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    lens = np.array([2, 4, 1])
    lengths: Any = (lambda args, kwargs: list(kwargs["lens"])) if source == "callable" else source
    layout = Layout(inputs={"mask": tokens(trim=1)}, lengths=lengths)
    batch = bind(layout, (), {"mask": mask, "lens": lens}, backend=backend)
    np.testing.assert_array_equal(batch.shape.lengths, [2, 4, 1])
    _, kwargs = batch.part(UBatchSlice.from_range(0, 1, 0, 1), 2)
    assert kwargs["mask"].shape == (1, 2)


def test_what_a_layout_remembers_is_bounded_and_holds_no_array(backend: Any) -> None:
    layout = Layout(inputs={"x": tokens()})
    x = np.zeros(3)
    for number in range(200):
        bind(layout, (), {"x": x, f"option{number}": 1}, backend=backend)
    assert len(layout.known) <= 64
    gone = weakref.ref(x)
    del x
    assert gone() is None


class Module:
    """Called with anything, as a module of torch is: the names of its arguments are those of `forward`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def forward(self, states: Any, table: Any) -> Any:
        return states + table.sum()


@pytest.mark.parametrize("pattern", ["table", "1"])
def test_arguments_of_a_module_have_the_names_of_its_forward(pattern: str, backend: Any) -> None:
    states, table = np.arange(6.0), np.arange(6.0)
    call = Call.of(Module(), (states, table), {}, Layout(inputs={pattern: replicate()}))
    batch = call.batch(backend)
    ((first, whole), _) = part(batch, 0, 2)
    assert len(first) == 2 and len(whole) == 6


def test_a_name_that_forward_lacks_is_told_with_those_that_it_has(backend: Any) -> None:
    call = Call.of(Module(), (np.arange(6.0), np.arange(6.0)), {}, Layout(inputs={"tabel": replicate()}))
    with pytest.warns(UserWarning, match="did you mean 'table'"):
        call.batch(backend)
