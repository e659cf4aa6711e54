"""Functions that keep something from call to call, and whether it shows in their answers.

Invariant: the state of each function is its own. Those of `TOLD` answer otherwise after one call more, so a
trial call before the step must be seen, undone or refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.core.proof.pair import Pair, Sizes, mixing, row_wise


def kept(change: Callable[[dict[str, Any], Any], Any]) -> Callable[[Sizes], Callable[..., Any]]:
    """Makes functions with a dict of state in a closure, which `change(state, a)` uses."""

    def make(sizes: Sizes) -> Callable[..., Any]:
        state: dict[str, Any] = {"calls": 0, "mean": 0.0, "buffer": np.zeros((sizes.rows, sizes.columns))}
        return lambda a: change(state, a)

    return make


def counting(sizes: Sizes) -> Callable[..., Any]:
    """A function that counts its calls by an iterator."""
    calls = itertools.count(1)
    return lambda a: a * next(calls)


def tally(state: dict[str, Any], a: Any) -> Any:
    """Counts calls and does not tell."""
    state["calls"] += 1
    return a * 2


def told_tally(state: dict[str, Any], a: Any) -> Any:
    """Counts calls and tells."""
    state["calls"] += 1
    return a * state["calls"]


def rows_so_far(state: dict[str, Any], a: Any) -> Any:
    """Numbers rows on from call to call."""
    state["calls"] += len(a)
    return a + np.arange(state["calls"] - len(a), state["calls"])[:, None]


def running_mean(state: dict[str, Any], a: Any) -> Any:
    """Takes off a mean that follows the batches."""
    state["mean"] = 0.9 * state["mean"] + 0.1 * a.mean(0)
    return a - state["mean"]


def first_scale(state: dict[str, Any], a: Any) -> Any:
    """Scales by what the first batch had."""
    return a / state.setdefault("scale", np.abs(a).max())


def by_length(state: dict[str, Any], a: Any) -> Any:
    """Keeps a table for each number of rows; the table is of places."""
    return a + state.setdefault(f"table {len(a)}", np.arange(len(a))[:, None])


def by_value(state: dict[str, Any], a: Any) -> Any:
    """Keeps what it worked out for each row."""
    keys = [row.tobytes() for row in a]
    return np.stack([state.setdefault(key, row * 2) for key, row in zip(keys, a, strict=True)])


def toggled(state: dict[str, Any], a: Any) -> Any:
    """Every second call is another."""
    state["on"] = not state.get("on", False)
    return a * 2 if state["on"] else a * 3


def previous(state: dict[str, Any], a: Any) -> Any:
    """Adds the last row of the call before."""
    before, state["last"] = state.get("last", 0.0), a[-1].copy()
    return a + before


def read_on(state: dict[str, Any], a: Any) -> Any:
    """Adds the next entries of a file that is read on from call to call."""
    at = state["at"] = state.get("at", 0) + len(a)
    return a + np.sin(np.arange(at - len(a), at))[:, None]


def buffer_returned(state: dict[str, Any], a: Any) -> Any:
    """Returns memory that the next call writes again."""
    part = state["buffer"][: len(a)]
    np.multiply(a, 2, out=part)
    part += 1
    return part


def buffer_used(state: dict[str, Any], a: Any) -> Any:
    """Works in memory that the next call writes again, and returns a copy."""
    return buffer_returned(state, a).copy()


def buffer_accumulated(state: dict[str, Any], a: Any) -> Any:
    """Adds to memory that is never cleared."""
    part = state["buffer"][: len(a)]
    part += a
    return part.copy()


KEPT: tuple[Pair, ...] = (
    row_wise("calls are counted", kept(tally), made=True),
    row_wise("a value for each row", kept(by_value), made=True),
    mixing("a table for each length", kept(by_length), made=True),
    mixing("a buffer that is returned", kept(buffer_returned), made=True),
    mixing("a buffer that is used", kept(buffer_used), made=True),
)
TOLD: tuple[Pair, ...] = (
    mixing("calls are counted and told", kept(told_tally), made=True),
    mixing("calls are counted by an iterator", counting, made=True),
    mixing("rows are numbered on", kept(rows_so_far), made=True),
    mixing("rows from a reader", kept(read_on), made=True),
    mixing("a running mean", kept(running_mean), made=True),
    mixing("the first batch's scale", kept(first_scale), made=True),
    mixing("every second call is another", kept(toggled), made=True),
    mixing("the row before the first", kept(previous), made=True),
    mixing("a buffer that is never cleared", kept(buffer_accumulated), made=True),
)
