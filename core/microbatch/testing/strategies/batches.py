"""Batches as users have them: layouts, arrays of rows or tokens, nested containers, and functions of rows.

Invariant: a drawn layout is valid and complete for the fields that it names: rows of one axis, or tokens of
requests with the fields that belong to them, and never a rule that lacks what it depends on. Every element of
a drawn array differs from every other of the same leaf (as far as its dtype can count), so a row that is
lost, doubled or misplaced changes a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree
from hypothesis import strategies as st

from microbatch.binding.rules import (
    Layout,
    Rule,
    computed_tokens,
    query_start_loc,
    replicate,
    requests,
    seq_lens,
    tokens,
)
from microbatch.cutting.slices import BatchShape

OF_REQUESTS = (("seq_lens", seq_lens()), ("per_request", requests()), ("computed", computed_tokens()))
"""Fields that only a batch of tokens and requests has."""
DTYPES = ("f4", "f8", "i8", "i4", "i2", "c8")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnBatch:
    """Arguments of a call, and what they are."""

    inputs: dict[str, Any]
    """Keyword arguments; every array has a rule in `layout`."""
    layout: Layout
    """The rules, of functions of `row_functions` too."""
    num_tokens: int
    """Tokens in the batch."""
    num_requests: int
    """Requests in the batch."""


@st.composite
def query_start_locs(
    draw: st.DrawFn, *, max_requests: int = 8, max_length: int = 9, min_length: int = 1
) -> np.ndarray:
    """Cumulative tokens of up to `max_requests` requests, int64, from 0; one entry more than requests."""
    lengths = draw(st.lists(st.integers(min_length, max_length), max_size=max_requests))
    return np.cumsum([0, *lengths], dtype=np.int64)


@st.composite
def batch_shapes(draw: st.DrawFn, *, max_requests: int = 8, max_length: int = 9) -> BatchShape:
    """Batches as numbers: rows, tokens of requests, or padded rows with lengths."""
    kind = draw(st.sampled_from(["rows", "tokens", "padded"]))
    if kind == "tokens":
        starts = draw(query_start_locs(max_requests=max_requests, max_length=max_length))
        return BatchShape(num_tokens=int(starts[-1]), num_requests=len(starts) - 1, query_start_loc=starts)
    rows = draw(st.integers(0, max_requests))
    if kind == "rows":
        return BatchShape(num_tokens=rows, num_requests=rows)
    lengths = draw(st.lists(st.integers(1, max_length), min_size=rows, max_size=rows))
    return BatchShape(num_tokens=rows, num_requests=rows, lengths=np.array(lengths, dtype=np.int64))


@st.composite
def arrays(draw: st.DrawFn, *, rows: int, axis: int = 0, max_axes: int = 3) -> np.ndarray:
    """An array with `rows` along `axis`, every element its own number; contiguous, transposed or strided."""
    others = draw(st.lists(st.integers(1, 3), min_size=axis, max_size=max(axis, max_axes - 1)))
    shape = (*others[:axis], rows, *others[axis:])
    dtype = draw(st.sampled_from(DTYPES))
    made = np.arange(int(np.prod(shape))).astype(dtype).reshape(shape)
    memory = draw(st.sampled_from(["plain", "transposed", "strided"]))
    if memory == "transposed":
        return made.T.copy().T
    if memory == "strided":
        return np.repeat(made, 2, axis=-1)[..., ::2]
    return made


def pytrees(
    *, leaves: st.SearchStrategy[Any], max_leaves: int = 4, lists: bool = True
) -> st.SearchStrategy[Any]:
    """Dicts, tuples and lists, nested, with `leaves` in them; at least one leaf.

    Without `lists` where a rule names the container: a list so named is cut as a list.
    """
    named = st.sampled_from(["hidden", "mask", "scores"])

    def inside(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        several = st.lists(children, min_size=1, max_size=2)
        made = st.dictionaries(named, children, min_size=1, max_size=2) | several.map(tuple)
        return made | several if lists else made

    return st.recursive(leaves, inside, max_leaves=max_leaves)


@st.composite
def layouts(draw: st.DrawFn, *, ragged: bool | None = None) -> Layout:
    """A layout with a field `hidden` that is cut; `batches(layout=...)` makes arguments for it.

    `ragged` says whether there are tokens of requests (with `query_start_loc` and what depends on it) or
    rows; None draws it. A leaf `weight` that every ubatch gets whole may be among them.
    """
    rules: dict[str, Rule] = {}
    of_requests = draw(st.booleans()) if ragged is None else ragged
    axis = 0 if of_requests else draw(st.integers(0, 1))
    rules["hidden"] = tokens(axis)
    if of_requests:
        rules["query_start_loc"] = query_start_loc()
        rules.update((name, rule) for name, rule in OF_REQUESTS if draw(st.booleans()))
    if draw(st.booleans()):
        rules["weight"] = replicate()
    return Layout(inputs=rules, outputs={"*": tokens(axis)})


@st.composite
def batches(
    draw: st.DrawFn,
    *,
    layout: st.SearchStrategy[Layout] | None = None,
    max_requests: int = 6,
    max_length: int = 5,
) -> DrawnBatch:
    """Arguments for one of `layout` (else of `layouts()`): rows or tokens of requests, and constants."""
    chosen = draw(layouts() if layout is None else layout)
    starts = _starts(draw, chosen, max_requests, max_length)
    inputs = {name: _argument(draw, rule, starts) for name, rule in chosen.inputs.items()}
    if draw(st.booleans()):
        inputs["scale"] = draw(st.sampled_from([None, 2, 0.5, "text", np.float32(3)]))
    return DrawnBatch(inputs=inputs, layout=chosen, num_tokens=int(starts[-1]), num_requests=len(starts) - 1)


@st.composite
def row_functions(draw: st.DrawFn) -> Callable[..., Any]:
    """Functions of the rows of their keyword arguments: given a part, they give that part of the result."""

    def same(**inputs: Any) -> Any:
        return inputs["hidden"]

    def doubled(**inputs: Any) -> Any:
        return optree.tree_map(lambda leaf: leaf * 2, inputs["hidden"])

    def renamed(**inputs: Any) -> Any:
        return {"out": inputs["hidden"], "next": doubled(**inputs)}

    def nested(**inputs: Any) -> Any:
        return [same(**inputs), (doubled(**inputs),)]

    function: Callable[..., Any] = draw(st.sampled_from([same, doubled, renamed, nested]))
    return function


def _starts(draw: st.DrawFn, layout: Layout, max_requests: int, max_length: int) -> np.ndarray:
    """Where each request begins; without `query_start_loc` in the layout, requests of one row."""
    if any(rule.kind == "query_start_loc" for rule in layout.inputs.values()):
        return draw(query_start_locs(max_requests=max_requests, max_length=max_length))
    return np.arange(draw(st.integers(0, max_requests)) + 1)


def _argument(draw: st.DrawFn, rule: Rule, starts: np.ndarray) -> Any:
    """A value that `rule` fits."""
    if rule.kind == "query_start_loc":
        return starts
    if rule.kind == "seq_lens":
        return np.diff(starts)
    if rule.kind == "computed_tokens":
        return np.arange(len(starts) - 1)
    if rule.kind == "replicate":
        return draw(arrays(rows=draw(st.integers(0, 4))))
    if rule.kind == "requests":
        return draw(arrays(rows=len(starts) - 1, axis=rule.axis))
    leaves = arrays(rows=int(starts[-1]), axis=rule.axis)
    return draw(pytrees(leaves=leaves, max_leaves=3, lists=False))
