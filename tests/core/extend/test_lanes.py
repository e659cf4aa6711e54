"""Pairs of streams are with one step at a time, and come back in the order they were lent."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.lanes import LanePool


def numbered() -> LanePool:
    numbers = itertools.count()
    return LanePool(lambda purpose: (purpose, next(numbers)))  # type: ignore[arg-type,return-value]


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.sampled_from("ab")), max_size=20))
def test_nobody_gets_what_another_has(steps: list[tuple[bool, int, str]]) -> None:
    pool, open_ = numbered(), list[tuple[ExitStack, list[Any]]]()
    for ends, count, device in steps:
        if ends and open_:
            open_.pop(0)[0].close()
            continue
        stack = ExitStack()
        pairs = stack.enter_context(pool.lend(count, device))
        assert len(pairs) == count
        assert [purpose for pair in pairs for purpose, _ in pair] == ["compute", "communication"] * count
        open_.append((stack, list(pairs)))
        lent = [pair for _, held in open_ for pair in held]
        assert len(set(lent)) == len(lent)


def test_steps_that_follow_each_other_get_the_same_pairs() -> None:
    pool = numbered()
    with pool.lend(3) as first:
        kept = list(first)
    with pool.lend(2) as second:
        assert list(second) == kept[:2]
    with pool.lend(3) as third:
        assert list(third) == kept


def test_an_error_gives_them_back() -> None:
    pool = numbered()
    with pytest.raises(KeyError), pool.lend(2) as first:
        kept = list(first)
        raise KeyError
    with pool.lend(2) as second:
        assert list(second) == kept


def test_pairs_of_another_device_are_others() -> None:
    pool = numbered()
    with pool.lend(1, 0) as here, pool.lend(1, 1) as there:
        assert not set(here) & set(there)
