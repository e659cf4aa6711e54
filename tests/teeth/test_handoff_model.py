"""The model of the hand-off holds for 2 to 4 parties, and spin finds the bugs that can be put into it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

if not (shutil.which("spin") and shutil.which("gcc")):
    pytest.skip("checking the model needs spin and gcc (apt-get install spin gcc)", allow_module_level=True)

MODEL = Path(__file__).with_name("handoff.pml")


def errors(folder: Path, *defines: str) -> int:
    """How many errors the search of the whole state space found."""
    call(folder, "spin", "-a", *defines, str(MODEL))
    call(folder, "gcc", "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c")
    report = call(folder, "./pan", "-m1000000")
    assert "max search depth too small" not in report
    found = re.search(r"errors: (\d+)", report)
    assert found is not None, report
    return int(found.group(1))


def call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("parties", "yields"), [(2, 1), (2, 3), (3, 1), (3, 2), (4, 1)])
def test_nobody_is_parked_for_ever_and_one_works_at_a_time(parties: int, yields: int, tmp_path: Path) -> None:
    assert errors(tmp_path, f"-DN={parties}", f"-DK={yields}") == 0


@pytest.mark.parametrize("bug", ["LATE_FLAG", "FORGOTTEN_LEAVE", "LOST_WAKE_UP", "STALE_LINK"])
def test_a_bug_put_into_the_model_is_found(bug: str, tmp_path: Path) -> None:
    assert errors(tmp_path, "-DN=3", "-DK=2", f"-D{bug}") > 0
