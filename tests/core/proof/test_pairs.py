"""Every pair of the table, in three ways: never a wrong answer, and what works by rows is cut.

Invariant: a step gives the plain call's result, or raises an error of ours before any result; a warning may
go with either. A pair whose rows do not depend on each other is not refused, and is cut where that is asked.
"""

from __future__ import annotations

import collections

import pytest

from tests.core.proof.pair import Pair
from tests.core.proof.pairs import PAIRS
from tests.core.proof.runs import WAYS, Runs, Way, fails


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_the_plain_calls_answer_or_an_error(pair: Pair, way: Way) -> None:
    failure = fails(Runs(pair, way))
    assert not failure, failure


def test_there_are_enough_pairs_and_none_twice() -> None:
    names = collections.Counter(pair.name for pair in PAIRS)
    assert len(names) >= 130 and set(names.values()) == {1}
    by = collections.Counter(pair.by for pair in PAIRS)
    assert min(by["rows"], by["nothing"]) >= 50 and by["requests"] >= 10


def test_batches_are_large_enough_to_be_cut() -> None:
    """The default policy cuts these sizes, so that the first way shows something."""
    assert next(Runs(PAIRS[0], WAYS[0]).outcomes()).parts > 1
