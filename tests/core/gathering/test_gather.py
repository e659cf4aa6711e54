"""Cutting and gathering is the identity: every row once, in order, with its dtype."""

from __future__ import annotations

import tracemalloc
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import microbatch
from microbatch.binding.rules import Layout, collect, query_start_loc, reduce, replicate, requests, tokens
from microbatch.cutting.cut import cut
from microbatch.errors import OutputMismatchError
from microbatch.gathering.gather import Gather, Outputs
from tests.support.binding import bind

Run = Callable[..., Any]
Pair = namedtuple("Pair", "first second")
DTYPES = ["?", "i1", "u2", "i8", "f2", "f4", "f8", "c8", "M8[s]", "m8[ns]", "S3", "U2", "O", "i4,f8"]
SPLITTERS = ["even", "floor", "packed", "request-aligned"]


def rows_of(rows: int, width: int, dtype: str) -> Any:
    plain = np.arange(rows * width).reshape(rows, width)
    if dtype in ("S3", "U2"):
        return plain.astype(str).astype(dtype)
    if "," in dtype:
        return np.array([[(value, value / 2) for value in row] for row in plain.tolist()], dtype).reshape(
            rows, width
        )
    return plain.astype(dtype)


def view_of(array: Any, kind: str) -> Any:
    if kind == "fortran":
        return np.asfortranarray(array)
    if kind == "reversed":
        return array[::-1]
    if kind == "strided":
        return np.repeat(array, 2, 0)[::2]
    if kind == "read-only":
        array = array.copy()
        array.flags.writeable = False
    if kind == "stride 0":
        return np.broadcast_to(array[:1], array.shape)
    return array


@pytest.mark.case(80)
@given(
    rows=st.integers(1, 40),
    width=st.integers(1, 3),
    count=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    splitter=st.sampled_from(SPLITTERS),
    kind=st.sampled_from(["plain", "fortran", "reversed", "strided", "read-only", "stride 0"]),
)
def test_cut_and_gather_is_the_identity(
    run_cut: Run, rows: int, width: int, count: int, dtype: str, splitter: str, kind: str
) -> None:
    x = view_of(rows_of(rows, width, dtype), kind)
    before = x.copy()
    result = run_cut(lambda part: part, x, splitter=splitter, num_ubatches=min(count, rows))
    assert result.dtype == x.dtype
    np.testing.assert_array_equal(result, before)
    assert not np.shares_memory(result, x)


TREES = st.recursive(
    st.sampled_from(["array", "vector", 1, 2.5, "text", b"raw", None, True]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["z", "a", "m"]), inner, max_size=3)
        | st.tuples(inner, inner).map(lambda pair: Pair(*pair))
        | st.dictionaries(st.integers(0, 9), inner, max_size=2).map(OrderedDict)
    ),
    max_leaves=8,
)


def planted(tree: Any, rows: int) -> Any:
    if tree == "array":
        return np.arange(rows * 2.0).reshape(rows, 2)
    if tree == "vector":
        return np.arange(rows)
    if isinstance(tree, Pair):
        return Pair(*(planted(child, rows) for child in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(planted(child, rows) for child in tree)
    if isinstance(tree, dict):
        return type(tree)((key, planted(child, rows)) for key, child in tree.items())
    return tree


def lengths_of_lists(tree: Any) -> set[int]:
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    own = {len(tree)} if isinstance(tree, (list, tuple)) else set()
    return own.union(*map(lengths_of_lists, children))


def assert_same(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert list(first) == list(second)
        first, second = list(first.values()), list(second.values())
    if isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    elif isinstance(first, np.ndarray):
        np.testing.assert_array_equal(first, second)
    else:
        assert first == second


@pytest.mark.case(77)
@given(tree=TREES, rows=st.integers(1, 12), count=st.integers(1, 5), keyword=st.booleans())
def test_any_nesting_comes_back_as_it_was(
    run_cut: Run, tree: Any, rows: int, count: int, keyword: bool
) -> None:
    value = planted([tree, "array"], rows)
    assume(rows not in lengths_of_lists(value))  # such a list is one of rows
    count = min(count, rows)

    def same(x: Any) -> Any:
        return x

    args, kwargs = ((), {"x": value}) if keyword else ((value,), {})
    assert_same(run_cut(same, *args, kwargs=kwargs, splitter="even", num_ubatches=count), value)


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=20), limit=st.integers(1, 60))
def test_packed_rows_come_back_in_the_callers_order(run_cut: Run, lengths: list[int], limit: int) -> None:
    mask = np.arange(9)[None, :] < np.array(lengths)[:, None]
    ids = np.where(mask, np.arange(mask.size).reshape(mask.shape), 0)
    layout = Layout(
        inputs={"ids": tokens(trim=1), "mask": tokens(trim=1)},
        outputs={"*.wide": tokens(trim=1)},
        lengths="mask",
    )

    def function(ids: Any, mask: Any) -> Any:
        return {"sum": (ids * mask).sum(1), "wide": ids * mask}

    result = run_cut(
        function, ids, mask, layout=layout, names=("ids", "mask"), splitter="packed", limit=limit
    )
    np.testing.assert_array_equal(result["sum"], ids.sum(1))
    np.testing.assert_array_equal(result["wide"], ids)


@given(counts=st.lists(st.integers(0, 6), min_size=1, max_size=9), data=st.data())
def test_tokens_and_requests_of_a_ragged_batch(run_cut: Run, counts: list[int], data: st.DataObject) -> None:
    counts = counts if sum(counts) else [*counts, 1]
    starts = np.cumsum([0, *counts])
    total = int(starts[-1])
    number = data.draw(st.integers(1, total))
    splitter = data.draw(st.sampled_from(["even", "floor", "packed"]))
    number = min(number, np.count_nonzero(counts)) if splitter == "packed" else number
    layout = Layout(inputs={"starts": query_start_loc(), "ids": tokens(), "names": requests()})

    def function(ids: Any, starts: Any, names: Any) -> Any:
        return {"ids": ids, "last": names * 10}

    result = run_cut(
        function, np.arange(total), starts, np.arange(len(counts)), layout=Layout(
            inputs=layout.inputs, outputs={"ids": tokens(), "last": requests()}
        ), names=("ids", "starts", "names"), splitter=splitter, num_ubatches=number,
    )  # fmt: skip
    np.testing.assert_array_equal(result["ids"], np.arange(total))
    np.testing.assert_array_equal(result["last"], np.arange(len(counts)) * 10)


@pytest.mark.case(71)
@given(order=st.permutations(range(3)))
def test_a_straddling_request_is_taken_from_the_last_ubatch(run_cut: Run, order: list[int]) -> None:
    starts = np.array([0, 3, 8])
    layout = Layout(inputs={"1": query_start_loc()})

    def sums(ids: Any, starts: Any) -> Any:
        return np.add.reduceat(ids, starts[:-1])

    result = run_cut(
        sums,
        np.ones(8, int),
        starts,
        layout=layout,
        splitter="explicit",
        boundaries=[4, 6],
        order=lambda _: order,
    )
    np.testing.assert_array_equal(result, [3, 2])


@given(axis=st.integers(-2, 1), rows=st.integers(1, 9), count=st.integers(1, 9))
def test_any_axis_can_be_cut(run_cut: Run, axis: int, rows: int, count: int) -> None:
    x = np.arange(rows * 3.0).reshape((rows, 3) if axis % 2 == 0 else (3, rows))
    layout = Layout(inputs={"0": tokens(axis)}, outputs={"output": tokens(axis)})
    result = run_cut(lambda part: part + 1, x, layout=layout, splitter="even", num_ubatches=min(count, rows))
    np.testing.assert_array_equal(result, x + 1)


def test_out_takes_a_memory_mapped_file(run_cut: Run, tmp_path: Path) -> None:
    x = np.arange(12.0).reshape(6, 2)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", x.dtype, x.shape)
    result = run_cut(lambda part: part * 2, x, out=out, splitter="even", num_ubatches=4)
    assert result is out
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), x * 2)


def test_out_takes_a_tree_and_a_function(run_cut: Run) -> None:
    x = np.arange(6.0)
    out = {"a": np.empty(6), "b": np.empty(6, int)}
    result = run_cut(lambda p: {"a": p, "b": p.astype(int)}, x, out=out, splitter="even", num_ubatches=2)
    assert result is out
    np.testing.assert_array_equal(out["b"], x)
    asked: list[tuple[int, ...]] = []

    def make(shape: tuple[int, ...], like: Any) -> Any:
        asked.append(shape)
        return np.empty(shape, like.dtype)

    result = run_cut(lambda p: (p, p, 3), x, out=make, splitter="even", num_ubatches=3)
    assert asked == [(6,), (6,)]
    assert result[2] == 3
    np.testing.assert_array_equal(result[1], x)


def test_reduce_gets_values_in_row_order_and_their_weights(run_cut: Run) -> None:
    x = np.arange(7.0)
    mean = reduce(
        lambda values, weights: sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)
    )
    layout = Layout(outputs={"mean": mean, "parts": collect()})
    result = run_cut(
        lambda p: {"mean": p.mean(), "parts": p.tolist(), "x": p}, x, layout=layout, splitter="even",
        num_ubatches=3,
        order=lambda indices: indices[::-1],
    )  # fmt: skip
    assert result["mean"] == x.mean()
    assert result["parts"] == [[0, 1, 2], [3, 4], [5, 6]]


def test_lists_of_strings_are_cut_and_joined(run_cut: Run) -> None:
    texts = ["a", "four", "bb", "seventeen letters", "ccc"]
    layout = Layout(
        inputs={"texts": tokens()},
        outputs={"output": tokens()},
        lengths=lambda args, kwargs: [len(t) for t in args[0]],
    )
    result = run_cut(
        lambda part: [text.upper() for text in part],
        texts,
        layout=layout,
        names=("texts",),
        splitter="packed",
        limit=8,
    )
    assert result == [text.upper() for text in texts]


@pytest.mark.case(75, 76)
def test_constants_agree_and_replicated_arrays_too(run_cut: Run) -> None:
    table = np.array([1.0, np.nan])
    layout = Layout(outputs={"table": replicate()})
    result = run_cut(
        lambda p: {"x": p, "table": table.copy(), "nan": float("nan"), "zero": np.float32(2), "name": "m"},
        np.arange(5), layout=layout, splitter="even", num_ubatches=5,
    )  # fmt: skip
    np.testing.assert_array_equal(result["table"], table)
    assert result["name"] == "m"
    assert result["zero"].dtype == np.float32


@pytest.mark.case(71)
def test_every_order_of_threads_gives_the_same_result(backend: Any) -> None:
    x = np.arange(4000).reshape(1000, 4)
    batch = bind(None, (x,), {}, backend=backend)
    made = cut(batch.shape, splitter="even", num_ubatches=250)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            gather = Gather(batch, made, backend, Outputs())
            list(pool.map(lambda i, g=gather: g.store(i, batch.part(made.slices[i])[0][0] + 1), range(250)))
            np.testing.assert_array_equal(gather.result(), x + 1)


def test_the_result_is_the_only_copy_of_the_rows(run_cut: Run) -> None:
    x = np.ones((64, 1 << 14))
    tracemalloc.start()
    try:
        run_cut(lambda part: part * 2, x, splitter="even", num_ubatches=64)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes * 1.1


@pytest.mark.parametrize("first", [0, 1])
def test_a_part_with_as_many_tokens_as_requests_does_not_decide(run_cut: Run, first: int) -> None:
    layout = Layout(inputs={"1": query_start_loc()})
    order = [first, 1 - first]
    starts = np.array([0, 1, 2, 6])
    result = run_cut(
        lambda ids, starts: {"t": ids * 2, "r": np.diff(starts)}, np.arange(6), starts,
        layout=layout, splitter="explicit", boundaries=[2], order=lambda indices: order,
    )  # fmt: skip
    np.testing.assert_array_equal(result["t"], np.arange(6) * 2)
    np.testing.assert_array_equal(result["r"], [1, 1, 4])


def test_a_result_that_could_not_be_made_can_be_asked_for_again(backend: Any) -> None:
    x = np.arange(4)
    place = np.empty(4, int)
    answers = iter([MemoryError("no room"), place])

    def make(shape: tuple[int, ...], like: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, MemoryError):
            raise answer
        return answer

    batch = bind(None, (x,), {}, backend=backend)
    gather = Gather(batch, cut(batch.shape, splitter="even", num_ubatches=2), backend, Outputs(out=make))
    with pytest.raises(MemoryError, match="no room"):
        gather.store(0, x[:2])
    gather.store(0, x[:2])
    gather.store(1, x[2:])
    assert gather.result() is place
    np.testing.assert_array_equal(place, x)


@pytest.mark.case(72, 75)
def test_replicated_arrays_must_agree_in_dtype_too(run_cut: Run) -> None:
    kinds = iter(["f4", "f8"])
    with pytest.raises(OutputMismatchError, match="constant output"):
        run_cut(lambda p: np.ones((), next(kinds)), np.arange(4), splitter="even", num_ubatches=2)


def test_an_output_of_inputs_cut_along_another_axis_is_shown_or_declared() -> None:
    """Of x [1, 2] cut along axis 1, a part [1, 1] looks as if its row were on axis 0; the answer would be
    [2, 1]."""
    x = np.array([[0.0, 1.0]])
    layout = microbatch.Layout(inputs={"0": microbatch.tokens(1)})
    with microbatch.wrap(np.copy, layout=layout, num_ubatches=2, policy="fixed") as f:
        np.testing.assert_array_equal(f(x), x)
    with (
        microbatch.wrap(np.copy, layout=layout, num_ubatches=2, policy="fixed", verify="never") as f,
        pytest.raises(OutputMismatchError, match="cut along axis 1"),
    ):
        f(x)
    layout = microbatch.Layout(inputs={"0": microbatch.tokens(1)}, outputs={"": microbatch.tokens(1)})
    with microbatch.wrap(np.copy, layout=layout, num_ubatches=2) as f:
        np.testing.assert_array_equal(f(x), x)
