"""`microbatch run --resume` ended by SIGKILL at a drawn time, and gone on with.

Invariant: no row of a block that the journal speaks of is run again, and the output is that of an undisturbed
run, for every kind of output.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from random import Random

from tests.campaign.commands import run_here, started
from tests.campaign.records import Found
from tests.support.resuming import KINDS, believed, called, rows_in, write

LEFT = frozenset({"threads", "descriptors"})
ROWS = 1500
ENDING = 60.0
"""Seconds that a run may take to its end, on a busy machine."""


def begin() -> None:
    """Run the command once in this process, which is how the undisturbed run is made."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), 20)
        _undisturbed(Path(name), "y.npy")


def case(draw: Random) -> Found:
    """One output, up to three kills, and a run to the end."""
    output = draw.choice([*KINDS])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, ROWS)
        kills, code, wrong = 0, -1, ""
        for _ in range(draw.randrange(1, 4)):
            code, wrong = _run(folder, output, draw.uniform(0.2, 3.0))
            kills += int(code != 0)
            if code == 0 or wrong:
                break
        if not wrong and code != 0:  # even where the output is there: its journal may be, too
            code, wrong = _run(folder, output, ENDING)
            wrong = wrong or ("" if code == 0 else f"it ended with {code}")
        wrong = wrong or _compared(folder, output)
    return Found(units={"kills": kills, "runs": 1}, failures=(f"{output}: {wrong}",) if wrong else ())


def _run(folder: Path, output: str, seconds: float) -> tuple[int, str]:
    """Exit code of a run that is killed after so many seconds, and what was wrong with it."""
    before, calls = believed(folder, output), len(called(folder))
    os.environ["SLEEP"] = "0.001"
    try:
        arguments = [f"steps.py:{KINDS[output]}", "-i", "x.npy", "-o", output, "--resume", "--quiet"]
        with started(folder, *arguments) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
            said = process.communicate()[1].decode()
    finally:
        del os.environ["SLEEP"]
    again = [row for row in called(folder)[calls:] if row < before]
    wrong = f"rows {again[:3]} of {before} that were stored ran again" if again else ""
    return process.returncode, wrong or (
        f"it ended with {process.returncode}: {said}" if process.returncode > 0 else ""
    )


def _compared(folder: Path, output: str) -> str:
    plain = f"z{output[1:]}"
    _undisturbed(folder, plain)
    if rows_in(folder / output) != rows_in(folder / plain):
        return "the output is not that of an undisturbed run"
    left = sorted(path.name for path in folder.glob("y.*part*"))
    return f"it left {left}" if left else ""


def _undisturbed(folder: Path, output: str) -> None:
    ended = run_here(folder, f"steps.py:{KINDS[f'y{output[1:]}']}", "-i", "x.npy", "-o", output, "--quiet")
    assert ended.code == 0, ended.said
