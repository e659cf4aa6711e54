"""Do the tests of the hand-off have teeth? `python -m tests.teeth.statements [FILE ...]`.

Changes one statement, condition, operand or constant of the hand-off files at a time in a copy of the package, runs the
tests that fit against it, and prints how many were noticed, and each that was not. A test run that does not end in time
counts as noticed. What cannot make a difference is left out, with the reason (`equivalents.py`). The exit status is the
number of files in which fewer than 90 in 100 were noticed.

Which tests notice most is kept in `statements_order.json`; they run first the next time.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console
from rich.table import Table

import microbatch
from tests.teeth.equivalents import EQUIVALENT
from tests.teeth.mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
ORDER = Path(__file__).with_name("statements_order.json")
LEAST = 0.9
"""Share that must be noticed."""
LIMIT = 90.0
"""Seconds for one test run, which takes up to 25 where nothing fails; a single test has 20."""
MEMORY = 3 << 20
"""KiB that one test run may take: a loop that a mutant never leaves may also fill memory."""
FIRST = 12
"""Tests that noticed most, run before the others."""

TURNS, SCHEDULES = "tests/core/turns", "tests/core/schedules"
FAULTS = f"{SCHEDULES}/test_pingpong_faults.py"
INTERRUPTS = f"{SCHEDULES}/test_pingpong_interrupts.py"
SETUP = f"{SCHEDULES}/test_pingpong_setup.py"
TESTS: dict[str, tuple[str, ...]] = {
    "turns/handoff.py": (
        f"{TURNS}/test_ring_machine.py", f"{TURNS}/test_handoff.py", FAULTS, f"{SCHEDULES}/test_pingpong.py", INTERRUPTS,
    ),
    "turns/workers.py": (
        f"{TURNS}/test_handoff.py", FAULTS, f"{TURNS}/test_workers.py", SETUP, INTERRUPTS, f"{TURNS}/test_workers_processes.py",
    ),
    "turns/roster.py": (
        f"{TURNS}/test_handoff.py", FAULTS, f"{TURNS}/test_workers.py", SETUP, INTERRUPTS, f"{TURNS}/test_workers_processes.py",
    ),
    "turns/barrier.py": (f"{TURNS}/test_barrier.py", f"{TURNS}/test_barrier_machine.py", f"{TURNS}/test_handoff.py"),
    "turns/greenlets.py": (
        f"{TURNS}/test_ring_machine.py", f"{TURNS}/test_greenlets.py", FAULTS, f"{SCHEDULES}/test_pingpong.py",
        "tests/core/test_dbo.py", INTERRUPTS,
    ),
    "turns/seat.py": ("tests/core/test_dbo.py", FAULTS, f"{SCHEDULES}/test_on_devices.py"),
    "schedules/pingpong.py": (
        f"{SCHEDULES}/test_pingpong.py", FAULTS, "tests/core/test_dbo.py", f"{SCHEDULES}/test_on_devices.py", SETUP, INTERRUPTS,
        f"{SCHEDULES}/test_pingpong_wrappers.py",
    ),
}  # fmt: skip
"""File below the package -> the tests that fit it. Those on the deterministic runtime come first: there a hang is found at
once, on real threads after 20 seconds."""


class Copy:
    """A copy of the package that can be damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(
            Path(microbatch.__file__).parent,
            folder / "microbatch",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        compileall.compile_dir(folder / "microbatch", quiet=2)

    @contextmanager
    def damaged(self, path: str, mutant: Mutant) -> Iterator[None]:
        """The copy with one file replaced; its compiled form is not used."""
        file = self.folder / "microbatch" / path
        undamaged = file.read_bytes()
        for compiled in file.parent.glob(f"__pycache__/{file.stem}.*.pyc"):
            compiled.unlink()
        file.write_text(mutant.source)
        try:
            yield
        finally:
            file.write_bytes(undamaged)

    def first_failure(self, tests: Sequence[str]) -> str:
        """The first of `tests` that fails; "time" where they do not end, empty where all pass."""
        command = [
            "sh", "-c", f'ulimit -v {MEMORY}; exec "$@"', "sh",
            sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider",
            "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT),
            "-o", "faulthandler_timeout=20", *(str(ROOT / test) for test in tests),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=self._environment(), capture_output=True, text=True, timeout=LIMIT,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "time"
        if done.returncode == 0:
            return ""
        if done.returncode == 4 and "not found: " in done.stderr:
            raise SystemExit(f"pytest cannot run what it was given: {done.stderr}")
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return "tests" + failed[0].partition("tests")[2].partition(" - ")[0] if failed else "time"

    def _environment(self) -> dict[str, str]:
        roots = (self.folder, ROOT / "backends", ROOT / "plugins")
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, roots)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_PROFILE": "teeth",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a second less for each run
        }


class Judge:
    """Asks the tests about mutants, several at a time."""

    def __init__(self, jobs: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._copies: SimpleQueue[Copy] = SimpleQueue()
        self._pool = ThreadPoolExecutor(jobs)
        self.order: dict[str, dict[str, int]] = json.loads(ORDER.read_text()) if ORDER.exists() else {}
        for number in range(jobs):
            self._copies.put(Copy(Path(self._folder.name) / str(number)))

    def judge(self, path: str, mutants: Sequence[Mutant]) -> list[str]:
        """For each mutant the test that noticed it, or an empty text."""
        counts = self.order.get(path, {})
        first = [test for test in sorted(counts, key=lambda test: -counts[test])[:FIRST] if _is_there(test)]
        tests = [*first, *TESTS[path]]
        self._check_sound(tests)

        def ask(mutant: Mutant) -> str:
            copy = self._copies.get()
            try:
                with copy.damaged(path, mutant):
                    started = time.monotonic()
                    verdict = copy.first_failure(tests)
            finally:
                self._copies.put(copy)
            seconds = time.monotonic() - started
            print(
                f"{seconds:5.1f} s  {path}: {mutant.name}: {verdict or 'NOT NOTICED'}",
                file=sys.stderr,
                flush=True,
            )
            return verdict

        verdicts = list(self._pool.map(ask, mutants))
        found = Counter(test for test in verdicts if test not in ("", "time"))
        self.order[path] = {
            test: found[test] for test in sorted(found, key=lambda test: (-found[test], test))
        }
        return verdicts

    def _check_sound(self, tests: Sequence[str]) -> None:
        """They must pass on the undamaged package."""
        copy = self._copies.get()
        failed = copy.first_failure(tests)
        self._copies.put(copy)
        if failed:
            raise SystemExit(f"{failed} fails on the undamaged package; repair that first")

    def close(self) -> None:
        """Keep the order, drop the copies."""
        ORDER.write_text(json.dumps(self.order, indent=1) + "\n")
        self._pool.shutdown()
        self._folder.cleanup()


def _is_there(test: str) -> bool:
    """Whether a remembered test still exists; one that does not would end the run before it began."""
    file, _, name = test.partition("::")
    path = ROOT / file
    name = name.rpartition("::")[2].partition("[")[0]
    return path.exists() and (f"def {name}(" in path.read_text() or name == "runTest")


def main(arguments: Sequence[str]) -> int:
    """Print a table, then what was not noticed; returns in how many files too much was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.teeth.statements")
    parser.add_argument("files", nargs="*", choices=[*TESTS, []], help="only these files")
    parser.add_argument("--jobs", type=int, default=2, help="test runs at a time")
    options = parser.parse_args(arguments)
    console, table = Console(width=180), Table("file", "noticed", "of", "share", "left out as equivalent")
    judge, survivors, below = Judge(options.jobs), [], 0
    package = Path(microbatch.__file__).parent
    for path in options.files or TESTS:
        known = EQUIVALENT.get(path, {})
        everything = mutants_of((package / path).read_text())
        mutants = [mutant for mutant in everything if mutant.name not in known]
        verdicts = judge.judge(path, mutants)
        missed = [mutant for mutant, verdict in zip(mutants, verdicts, strict=True) if not verdict]
        noticed = len(mutants) - len(missed)
        below += noticed < LEAST * len(mutants)
        table.add_row(
            path,
            str(noticed),
            str(len(mutants)),
            f"{noticed / len(mutants):.0%}",
            str(len(everything) - len(mutants)),
        )
        survivors += [f"{path}:{mutant.line} {mutant.name}" for mutant in missed]
        gone = set(known) - {mutant.name for mutant in everything}
        survivors += [f"{path} no longer has what is called equivalent: {name}" for name in sorted(gone)]
    judge.close()
    console.print(table)
    for line in survivors:
        console.print(f"not noticed: {line}", markup=False)
    return below


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
