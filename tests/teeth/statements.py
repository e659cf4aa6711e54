"""Do the tests of the hand-off have teeth? `python -m tests.teeth.statements [FILE ...]`.

Changes one statement, condition, operand or constant of the hand-off files at a time in a copy of the
package, runs the tests that fit against it, and prints how many were noticed, and each that was not. A test
run that does not end in time counts as noticed. What cannot make a difference is left out, with the reason
(`equivalents.py`). The exit status is the number of files in which fewer than 90 in 100 were noticed.

Which tests notice most is kept in `statements_order.json`; they run first the next time. The whole takes
hours; `--at-most 20` tries twenty changes of each file.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.teeth.damaged_copies import MEMORY, ROOT, TIME, Copies, Copy, arguments, spread
from tests.teeth.equivalents import EQUIVALENT
from tests.teeth.mutants import Mutant, mutants_of

__all__ = ["TESTS", "main"]

ORDER = Path(__file__).with_name("statements_order.json")
LEAST = 0.9
"""Share that must be noticed."""
FIRST = 12
"""Tests that noticed most, run before the others."""

TURNS, SCHEDULES = "tests/core/turns", "tests/core/schedules"
FAULTS = f"{SCHEDULES}/test_pingpong_faults.py"
INTERRUPTS = f"{SCHEDULES}/test_pingpong_interrupts.py"
SETUP = f"{SCHEDULES}/test_pingpong_setup.py"
TESTS: Mapping[str, tuple[str, ...]] = {
    "turns/handoff.py": (
        f"{TURNS}/test_ring_machine.py", f"{TURNS}/test_handoff.py", FAULTS, f"{SCHEDULES}/test_pingpong.py",
        INTERRUPTS,
    ),
    "turns/gates.py": (
        f"{TURNS}/test_waiting_at_home.py", f"{TURNS}/test_runtime.py", f"{TURNS}/test_handoff.py",
        f"{TURNS}/test_workers_processes.py",
    ),
    "turns/latch.py": (f"{TURNS}/test_latch.py",),
    "turns/workers.py": (
        f"{TURNS}/test_handoff.py", FAULTS, f"{TURNS}/test_workers.py", SETUP, INTERRUPTS,
        f"{TURNS}/test_workers_processes.py",
    ),
    "turns/barrier.py": (
        f"{TURNS}/test_barrier.py", f"{TURNS}/test_barrier_machine.py", f"{TURNS}/test_handoff.py",
    ),
    "turns/roster.py": (
        f"{TURNS}/test_handoff.py", FAULTS, f"{TURNS}/test_workers.py", SETUP, INTERRUPTS,
        f"{TURNS}/test_workers_processes.py",
    ),
    "turns/greenlets.py": (
        f"{TURNS}/test_ring_machine.py", f"{TURNS}/test_greenlets.py", FAULTS,
        f"{SCHEDULES}/test_pingpong.py", "tests/core/test_dbo.py", INTERRUPTS,
    ),
    "turns/seat.py": ("tests/core/test_dbo.py", FAULTS, f"{SCHEDULES}/test_on_devices.py", INTERRUPTS),
    "schedules/pingpong.py": (
        f"{SCHEDULES}/test_pingpong.py", FAULTS, "tests/core/test_dbo.py", f"{SCHEDULES}/test_on_devices.py",
        SETUP, INTERRUPTS, f"{SCHEDULES}/test_pingpong_wrappers.py",
    ),
}  # fmt: skip
"""File below the package -> the tests that fit it.

Those on the deterministic runtime come first: they find a hang at once, those on real threads after 20
seconds.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What became of the mutants of one file."""

    path: str
    """The file, below the package."""
    mutants: tuple[Mutant, ...]
    """Those that were tried."""
    verdicts: tuple[str, ...]
    """For each the test that noticed it, or an empty text."""
    left_out: int
    """How many are equivalent."""
    gone: tuple[str, ...]
    """Names in `equivalents.py` that no mutant of the file has any more."""

    @property
    def missed(self) -> list[Mutant]:
        """Mutants that no test noticed."""
        return [mutant for mutant, verdict in zip(self.mutants, self.verdicts, strict=True) if not verdict]

    @property
    def noticed(self) -> int:
        """How many were noticed."""
        return len(self.mutants) - len(self.missed)

    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        share = self.noticed / max(1, len(self.mutants))
        numbers = (str(self.noticed), str(len(self.mutants)), f"{share:.0%}", str(self.left_out))
        return (self.path, *numbers)

    def complaints(self) -> list[str]:
        """A line for each mutant that was not noticed, and each that is no longer there."""
        missed = [f"{self.path}:{mutant.line} {mutant.name}" for mutant in self.missed]
        return missed + [f"{self.path} no longer has what is called equivalent: {name}" for name in self.gone]


def judged(copies: Copies, path: str, counts: Mapping[str, int], at_most: int | None) -> Judged:
    """Ask the tests of `path` about its mutants; `counts` says how many each test noticed the last time."""
    known = EQUIVALENT.get(path, {})
    everything = mutants_of((ROOT / "core/microbatch" / path).read_text())
    mutants = spread([mutant for mutant in everything if mutant.name not in known], at_most)
    tests = _in_order(path, counts)
    copies.check_sound(*tests)

    def ask(copy: Copy, mutant: Mutant) -> str:
        started = time.monotonic()
        with copy.changed(f"microbatch/{path}", mutant.source.encode()):
            verdict = copy.first_failure(*tests, memory=MEMORY)
        seconds = time.monotonic() - started
        line = f"{seconds:5.1f} s  {path}: {mutant.name}: {verdict or 'NOT NOTICED'}"
        print(line, file=sys.stderr, flush=True)
        return verdict

    return Judged(
        path=path,
        mutants=tuple(mutants),
        verdicts=tuple(copies.ask(ask, mutants)),
        left_out=sum(mutant.name in known for mutant in everything),
        gone=tuple(sorted(set(known) - {mutant.name for mutant in everything})),
    )


def _in_order(path: str, counts: Mapping[str, int]) -> list[str]:
    """The tests of `path`, after those that noticed most."""
    first = [test for test in sorted(counts, key=lambda test: -counts[test])[:FIRST] if _is_there(test)]
    return [*first, *TESTS[path]]


def _is_there(test: str) -> bool:
    """Whether a remembered test still exists; one that does not would end the run before it began."""
    file, _, name = test.partition("::")
    path = ROOT / file
    name = name.rpartition("::")[2].partition("[")[0]
    return path.exists() and (f"def {name}(" in path.read_text() or name == "runTest")


def _counts(verdicts: Sequence[str]) -> dict[str, int]:
    """How many mutants each test noticed, most first."""
    found = Counter(test for test in verdicts if test not in ("", TIME))
    return {test: found[test] for test in sorted(found, key=lambda test: (-found[test], test))}


def main(given: Sequence[str]) -> int:
    """Print a table, then what was not noticed; returns in how many files too much was not."""
    parser = arguments("statements")
    parser.add_argument("files", nargs="*", choices=[*TESTS, []], help="only these files")
    options = parser.parse_args(given)
    order = json.loads(ORDER.read_text())
    results = []
    with Copies(options.jobs) as copies:
        for path in options.files or TESTS:
            results.append(judged(copies, path, order.get(path, {}), options.at_most))
            if options.at_most is None:  # a sample says too little about which tests notice most
                order[path] = _counts(results[-1].verdicts)
                ORDER.write_text(json.dumps(order, indent=1) + "\n")
    console, table = Console(width=180), Table("file", "noticed", "of", "share", "left out as equivalent")
    for result in results:
        table.add_row(*result.row())
    console.print(table)
    for line in [line for result in results for line in result.complaints()]:
        console.print(f"not noticed: {line}", markup=False)
    return sum(result.noticed < LEAST * len(result.mutants) for result in results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
