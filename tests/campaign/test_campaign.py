"""The campaign: a short form of each part in the normal suite, all of it with `-m soak` or `python -m`."""

from __future__ import annotations

import pytest

from tests.campaign.parts import PARTS
from tests.campaign.records import Part, Tally
from tests.campaign.running import Amount, run_part

SEED = 1
"""Of the short form, so that a failure in CI is one anywhere."""
CHUNKS = 10
"""Tests of the full form of one part, each some minutes long."""


@pytest.mark.parametrize("name", PARTS)
def test_a_little_of_each_part(name: str) -> None:
    """Nothing fails in some seconds of it."""
    part = part_called(name)
    check(run_part(part, SEED, Amount(units=part.short, seconds=8.0)))


@pytest.mark.soak
@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_all_of_each_part(name: str, chunk: int) -> None:
    """Nothing fails in as much of it as the documents state."""
    part = part_called(name)
    check(run_part(part, SEED, Amount(units=part.full // CHUNKS, first=(chunk + 1) * 1_000_000)))


def part_called(name: str) -> Part:
    """The part; skips where its package is missing."""
    part = PARTS[name]
    if part.needs:
        pytest.importorskip(part.needs)
    return part


def check(tally: Tally) -> None:
    """Raise AssertionError with all failures, each with the command that shows it alone."""
    assert not tally.failures, "\n".join(map(str, tally.failures))
    assert tally.done
