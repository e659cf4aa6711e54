"""Which test notices when a guard is gone: `python -m tests.teeth.guards [NUMBER ...]`.

Takes each guard against a numbered pitfall (tests/pitfalls.py) out of a copy of the packages, runs the test
that must fail then, and prints a table. The exit status is the number of guards that nobody missed. The
guards themselves are in `tests/teeth/guard_table.py`; `tests/teeth/test_guards.py` keeps that table true to
the sources.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tests.teeth.damaged_copies import TIME, Copies, Copy, arguments, spread
from tests.teeth.guard_table import GUARDS, Guard

__all__ = ["main", "noticed_by"]

ALL_TOGETHER = 600.0
"""Seconds for the tests of all guards in one run, on the undamaged packages."""


def noticed_by(copy: Copy, guard: Guard) -> str:
    """The test that fails when `guard` is gone; empty if none does."""
    source = copy.file(guard.module).read_text()
    if source.count(guard.text) != 1:
        raise RuntimeError(f"{guard.path} does not hold this text once:\n{guard.text}")
    with copy.changed(guard.module, source.replace(guard.text, guard.instead).encode()):
        failed = copy.first_failure(guard.test)
    if failed not in ("", TIME) and "::" not in failed:
        raise RuntimeError(
            f"without the guard, {failed} cannot even be collected, which says nothing: {guard.what}"
        )
    return failed


def main(given: Sequence[str] = ()) -> int:
    """Print the table of these pitfalls, or of all; returns the number of guards that no test missed."""
    parser = arguments("guards")
    parser.add_argument("numbers", nargs="*", type=int, help="only the guards against these pitfalls")
    options = parser.parse_args(given)
    guards = [guard for guard in GUARDS if not options.numbers or guard.pitfall in options.numbers]
    guards = spread(guards, options.at_most)
    with Copies(options.jobs) as copies:
        copies.check_sound(*dict.fromkeys(guard.test for guard in guards), limit=ALL_TOGETHER)
        answers = copies.ask(noticed_by, guards)
        with copies.one() as copy:
            places = [_place(copy, guard) for guard in guards]
    table = Table("pitfall", "place", "guard", "test", "noticed")
    for guard, place, answer in zip(guards, places, answers, strict=True):
        name = guard.test.split("::")[-1]
        table.add_row(str(guard.pitfall), place, guard.what, name, "yes" if answer else "NO")
    console = Console(width=200)
    console.print(table)
    survivors = sum(not answer for answer in answers)
    console.print(f"{len(guards) - survivors} of {len(guards)} noticed")
    return survivors


def _place(copy: Copy, guard: Guard) -> str:
    line = copy.file(guard.module).read_text().partition(guard.text)[0].count("\n") + 1
    return f"{guard.module}:{line}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
