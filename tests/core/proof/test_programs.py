"""Drawn programs under a fixed cut: never a wrong answer, and nearly all that are row-wise are accepted.

Invariant: the plain call's answer, or an error of ours. A program that fails is shown as the smallest one
found that fails, with its source.
"""

from __future__ import annotations

import collections
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import microbatch
from microbatch import MicrobatchError
from tests.support.answers import Compare
from tests.support.program_blocks import ENDS, LONG
from tests.support.programs import Program, drawn_from, programs, shrunk

SHARDS = 4
"""So that they run beside each other."""
A_TIME = 50 if settings().max_examples > 100 else 12 if settings().max_examples == 100 else 10
"""Programs of one example: with those of the profile `ci`, 4,800 in all, and a million with `nightly`."""
ACCEPTED = 0.97
"""Share of row-wise programs that are not refused, of very many."""


@pytest.fixture(autouse=True)
def _no_file_of_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of this project is read for each wrapper, and takes longer than a program."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def outcome(program: Program) -> str:
    """ "accepted", "refused", or what is wrong."""
    plain, number = program.function(), 0
    side_by_side = program.seed % 4 == 0
    options: dict[str, Any] = {
        "policy": "fixed",
        "num_ubatches": program.parts,
        "enable_overlap": side_by_side,
    }
    with microbatch.wrap(program.function(), **options) as wrapped:
        for number in range(1 + (program.seed % 3 == 0)):
            expected = plain(*program.arguments(number))
            try:
                found = wrapped(*program.arguments(number))
            except MicrobatchError:
                return "refused"
            except Exception as error:  # noqa: BLE001  # whatever is raised is what was looked for
                return f"call {number + 1} raised {type(error).__name__}: {error}"
            differs = Compare().difference(expected, found)
            if differs:
                return f"call {number + 1}, silently wrong: {differs}"
    return "accepted"


def wrong(program: Program) -> str:
    """What is wrong; empty where nothing is."""
    said = outcome(program)
    return "" if said in ("accepted", "refused") else said


@pytest.mark.parametrize("shard", range(SHARDS))
def test_the_plain_calls_answer_or_an_error(shard: int) -> None:
    tally: collections.Counter[tuple[bool, str]] = collections.Counter()

    @settings(phases=[Phase.explicit, Phase.reuse, Phase.generate])
    @given(seed=st.integers(0, 2**30))
    def run(seed: int) -> None:
        for program in drawn_from(seed * SHARDS + shard, A_TIME):
            said = outcome(program)
            if said not in ("accepted", "refused"):
                least = shrunk(program, wrong)
                pytest.fail(
                    f"{wrong(least)}\n{least!r}\nthe smallest of seed {seed * SHARDS + shard}: {said}"
                )
            tally[program.row_wise, said] += 1

    run()
    refused, accepted = tally[True, "refused"], tally[True, "accepted"]
    drawn = accepted + refused
    spread = (drawn * ACCEPTED * (1 - ACCEPTED)) ** 0.5  # of a share of so few
    assert refused <= (1 - ACCEPTED) * drawn + 3 * spread, f"{refused} of {drawn} were refused"
    assert drawn > 0.3 * tally.total()


@settings(max_examples=10)
@given(some=programs(20))
def test_programs_are_what_they_say(some: list[Program]) -> None:
    """Given the entries of some rows, a row-wise program answers for those rows as on the whole batch."""
    some = [replace(program, end=ENDS[0]) for program in some if program.rows >= 12]
    apart = collections.Counter((program.row_wise, rows_stay_apart(program)) for program in some)
    assert apart[True, False] == 0
    assert apart[False, True] <= 1 + 0.1 * apart[False, False]


def rows_stay_apart(program: Program) -> bool:
    """Whether some rows in the middle come out the same without those around them."""
    whole = program.function()(*program.arguments())
    for start in (3, 4):
        some, middle = program.arguments(), slice(start, program.rows - 4)
        for at, name in enumerate(program.parameters):
            if name.rstrip("0123456789") in LONG - {"twin"} | {"a"}:
                some[at] = some[at][middle]
        if Compare().difference(whole[middle], program.function()(*some)):
            return False
    return True


def test_a_failing_program_is_made_small() -> None:
    some = (program for seed in range(99) for program in drawn_from(seed, 9))
    large = next(program for program in some if len(program.steps) == 4 and not program.steps[2].row_wise)
    least = shrunk(large, lambda program: not program.row_wise)
    assert len(least.steps) == 1 and least.end is ENDS[0] and least.parts == 2 and least.rows <= 12
    assert "not row-wise" in repr(least) and least.steps[0].text.split("{")[0] in repr(least)
