"""`microbatch run` ended by SIGKILL, SIGTERM, SIGINT or SIGHUP at a drawn time.

Invariant: under the name of the output is the whole new result, or exactly what was there before. A run that
could do something about its signal leaves no part file and ends within seconds; what SIGKILL leaves is
removed by the next run.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import time
from pathlib import Path
from random import Random

import numpy as np

from tests.campaign.commands import Ended, Outcome, made_in, run_here, same_arrays, started
from tests.campaign.records import Found

LEFT = frozenset({"threads", "descriptors"})
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ENDING = 30.0
"""Seconds that a run may take to end, on a busy machine."""
ROWS = 1200
"""Rows of the input; with parts of 8 the run takes about as long as starting it."""


def begin() -> None:
    """Run the command once in this process, which is how the next run is made."""
    with tempfile.TemporaryDirectory() as folder:
        _next_run(_folder(folder), "y.npy")


def case(draw: Random) -> Found:
    """One run and one signal."""
    with tempfile.TemporaryDirectory() as name:
        folder = _folder(name)
        number, kind, old = draw.choice(SIGNALS), draw.choice((".npy", ".npz")), draw.random() < 0.5
        outcome = Outcome.of(folder / f"y{kind}", old=old)
        begun = draw.random() < 0.8
        ended = _killed(folder, outcome, draw, number if begun else -number)
        wrong = _wrong(folder, outcome, ended, number)
    what = f"{number.name}, {kind}, {'with' if old else 'without'} an old file"
    failures = () if not wrong else (f"{what}: {wrong} (exit code {ended.code})\n{ended.said}",)
    return Found(units={"kills": 1, "while it ran": int(ended.code != 0)}, failures=failures)


def _folder(name: str) -> Path:
    folder = made_in(Path(name))
    np.save(folder / "x.npy", np.arange(ROWS * 16.0).reshape(ROWS, 16))
    return folder


def _killed(folder: Path, outcome: Outcome, draw: Random, number: int) -> Ended:
    """Start a run and send it a signal: once it works on rows (a negative number: at any time)."""
    function = "slowly" if outcome.path.suffix == ".npy" else "several"
    arguments = [f"steps.py:{function}", "--input", "x.npy", "--output", outcome.path.name]
    schedule = draw.choice(("sequential", "parallel", "streamed"))
    with started(folder, *arguments, "--max-tokens", "8", "--schedule", schedule, "--quiet") as process:
        try:
            if number > 0:
                _wait_for_part(process, outcome)
            process_ends(process, draw.uniform(0.0, 0.6))
            process.send_signal(abs(number))
            said = process.communicate(timeout=ENDING)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            return Ended(0, f"it did not end within {ENDING:g} s of its signal")
        finally:
            process.kill()
    return Ended(process.returncode, said.decode())


def process_ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end, at most so long; whether it came."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _wait_for_part(process: subprocess.Popen[bytes], outcome: Outcome) -> None:
    """Wait until it has made its part file, or has ended."""
    end = time.monotonic() + ENDING
    while not outcome.parts() and not process_ends(process, 0.005) and time.monotonic() < end:
        pass


def _wrong(folder: Path, outcome: Outcome, ended: Ended, number: signal.Signals) -> str:
    """What is not as promised; empty where all is."""
    if ended.said.startswith("it did not end"):
        return ended.said
    if not outcome.kept and not same_arrays(outcome.path, _expected(folder, outcome.path)):
        return "the output is neither the old one nor the whole new one"
    if ended.code == 0 and outcome.kept:
        return "it says that it has succeeded, and there is no new output"
    if number is not signal.SIGKILL and outcome.parts():
        return f"it left {outcome.parts()}"
    _next_run(folder, outcome.path.name)
    return f"the next run left {outcome.parts()}" if outcome.parts() else ""


def _expected(folder: Path, path: Path) -> dict[str, np.ndarray]:
    x = np.load(folder / "x.npy")
    return {"": x * 2} if path.suffix == ".npy" else {"twice": x * 2, "sum": x.sum(1)}


def _next_run(folder: Path, output: str) -> None:
    ended = run_here(folder, "steps.py:doubled", "--input", "x.npy", "--output", output, "--quiet")
    assert ended.code == 0, ended.said
