"""The campaign notices what it is there for: each promise that `broken.py` breaks is a failure."""

from __future__ import annotations

import os

import pytest

from tests.campaign.__main__ import main
from tests.campaign.broken import NUMBERS, PART
from tests.campaign.records import Found, Tally, draw_of
from tests.campaign.running import Amount, run_case, run_part
from tests.campaign.watched import Watched

NOTICED = {
    "hangs": ("hung: no answer within", "in hangs"),
    "dies": ("its process ended by signal SIGABRT",),
    "raises": ("ZeroDivisionError: in the case",),
    "tells": ("a wrong answer",),
    "keeps_descriptors": ("descriptors left: {'pipe:[N]': 40}",),
    "keeps_one_descriptor": ("descriptors left: {'/dev/null': 1}",),
    "leaves_garbage": ("list -> list",),
    "leaves_a_setting": ("has become",),
}
"""Way -> what is said of it; of a hang also where it stood."""


@pytest.mark.parametrize("way", NOTICED)
def test_a_broken_promise_is_a_failure(way: str) -> None:
    """Whatever is broken is named."""
    if way == "leaves_a_setting" and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core: nothing to bind to")
    tally = run_case(PART, 0, NUMBERS[way])
    assert len(tally.failures) == 1, tally.failures
    assert all(text in tally.failures[0].text for text in NOTICED[way])


def test_nothing_is_no_failure() -> None:
    """A case in which all is well has none, and is counted."""
    tally = run_case(PART, 0, NUMBERS["nothing"])
    assert not tally.failures
    assert tally.done == 1


def test_later_cases_run_after_a_failure() -> None:
    """A case that ends its process does not end the part."""
    first = NUMBERS["dies"]
    tally = run_part(PART, 0, Amount(units=2, first=first))
    assert tally.done == 2
    assert first in {failure.number for failure in tally.failures}


def test_a_child_leaves_no_process() -> None:
    """Not even one that hangs and is not asked."""
    with Watched(PART, 0) as child:
        assert child.case(NUMBERS["nothing"]) == Found(units={"cases": 1}, failures=[])  # type: ignore[arg-type]
        pid = child.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_failure_says_how_to_run_it_alone() -> None:
    """The command is in its text."""
    tally = Tally(part=PART, seed=7)
    tally.add(3, Found(units={"cases": 1}, failures=("bad",)))
    assert "python -m tests.campaign --only broken --seed 7 --case 3" in str(tally.failures[0])


def test_a_number_draws_the_same_case() -> None:
    """By seed, part and number, and by nothing else."""
    assert draw_of(1, "steps", 2).random() == draw_of(1, "steps", 2).random()
    assert len({draw_of(*key).random() for key in [(1, "a", 2), (2, "a", 2), (1, "b", 2), (1, "a", 3)]}) == 4


def test_the_command_prints_a_table_and_ends_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """One row a part; what was asked for and what was found."""
    assert main(["--only", "histories", "--seed", "0", "--case", "0"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("seed 0\n")
    assert "how many" in said
    assert "1 histories" in said


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    with pytest.raises(SystemExit):
        main(["--only", "nonsense"])
    assert "steps" in capsys.readouterr().err
