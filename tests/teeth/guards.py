"""Which test notices when a guard is gone: `python -m tests.teeth.guards [NUMBER ...]`.

Takes each guard against a numbered pitfall (tests/pitfalls.py) out of a copy of the packages, runs the test that must
fail then, and prints a table. The exit status is the number of guards that nobody missed. The guards themselves are in
`tests/teeth/guard_table.py`; `tests/teeth/test_guards.py` keeps that table true to the sources.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.teeth.damage import copied, first_failure, replaced
from tests.teeth.guard_table import GUARDS, Guard

__all__ = ["main", "missed"]


def missed(guard: Guard, packages: Path) -> str:
    """What the test of `guard` says when it is gone; empty if it says nothing."""
    path = packages / guard.module
    source = path.read_text()
    if source.count(guard.text) != 1:
        raise RuntimeError(f"{guard.path} does not hold this text once:\n{guard.text}")
    with replaced(path, source.replace(guard.text, guard.instead).encode()):
        return first_failure(packages, guard.test)


def main(numbers: Iterable[int] = ()) -> int:
    """Print the table of these pitfalls, or of all; returns the number of guards that no test missed."""
    wanted = set(numbers)
    guards = [guard for guard in GUARDS if not wanted or guard.pitfall in wanted]
    table = Table("pitfall", "place", "guard", "test", "noticed")
    survivors = 0
    with copied() as packages:
        unharmed = first_failure(packages, *dict.fromkeys(guard.test for guard in guards))
        if unharmed:
            raise SystemExit(f"{unharmed} fails on the undamaged packages; repair that first")
        for guard in guards:
            failure = missed(guard, packages)
            survivors += not failure
            line = (packages / guard.module).read_text().partition(guard.text)[0].count("\n") + 1
            place = f"{guard.module}:{line}"
            table.add_row(
                str(guard.pitfall), place, guard.what, guard.test.split("::")[-1], "yes" if failure else "NO"
            )
    console = Console(width=200)
    console.print(table)
    console.print(f"{len(guards) - survivors} of {len(guards)} noticed")
    return survivors


if __name__ == "__main__":
    sys.exit(main(map(int, sys.argv[1:])))
