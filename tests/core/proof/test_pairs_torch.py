"""The pairs of PyTorch, as in `test_pairs.py`."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="torch is not installed")

from tests.core.proof.pair import Pair
from tests.core.proof.pairs_torch import PAIRS
from tests.core.proof.runs import WAYS, Runs, Way, fails

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_the_plain_calls_answer_or_an_error(pair: Pair, way: Way) -> None:
    failure = fails(Runs(pair, way))
    assert not failure, failure
