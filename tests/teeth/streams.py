"""Is each missing wait found on models of torch and CuPy, without a device: `python -m tests.teeth.streams`.

Takes each wait, record, synchronization and lifetime of `tests/teeth/stream_fault_table.py` out of a copy of
the packages, and runs models on the simulated devices under up to 100 drawn orders, until a value is
wrong. The exit status is the number of faults that no order showed. With `--sound COUNT` nothing is taken
out, and the exit status is the number of false alarms in so many runs, by values and by races.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.support import cupy_steps
from tests.support.stream_steps import STEPS
from tests.teeth.damaged_copies import Copies, Copy, arguments, spread
from tests.teeth.stream_fault_table import FAULTS, Fault
from tests.teeth.stream_orders import first_wrong

__all__ = ["found_by", "main"]

ORDERS = 100
"""Drawn orders for each fault."""
LIMIT = 600.0
"""Seconds for all of them; a fault that hangs shows in the steps' own limit of 10 s."""


def found_by(copy: Copy, fault: Fault, orders: int = ORDERS) -> tuple[int | None, str]:
    """The first order that shows `fault`, and what was wrong."""
    source = copy.file(fault.module).read_text()
    if source.count(fault.text) != 1:
        raise RuntimeError(f"{fault.path} does not hold this text once:\n{fault.text}")
    command = [sys.executable, "-m", "tests.teeth.stream_orders", "0", str(orders), *fault.steps]
    with copy.changed(fault.module, source.replace(fault.text, fault.instead).encode()):
        try:
            done = subprocess.run(
                command, cwd=copy.folder, env=copy.environment(), capture_output=True, text=True,
                timeout=LIMIT, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None, f"did not end within {LIMIT:.0f} s"
    if done.returncode:
        return None, f"ended with {done.returncode}: {done.stderr[-500:]}"
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["order"], answer["found"]


def false_alarms(count: int) -> int:
    """Runs of sound code, models and steps and orders in turn, in which something seems wrong."""
    console, wrong, number = Console(width=200), 0, 0
    while number < count:
        found, text = first_wrong([*STEPS, *cupy_steps.STEPS], range(number, count), recorded=True)
        if found is None:
            break
        wrong, number = wrong + 1, found + 1
        console.print(escape(f"order {found}: {text}"))
    console.print(f"{wrong} false alarms in {count} runs of sound code")
    return wrong


def main(given: Sequence[str] = ()) -> int:
    """Print the table; returns the number of faults that nothing showed, or of false alarms."""
    parser = arguments("streams")
    parser.add_argument("--only", default="", help="faults whose file or text holds this")
    parser.add_argument("--sound", type=int, default=0, help="runs of sound code instead")
    parser.add_argument("--json", type=Path, default=None, help="where the answers go too")
    options = parser.parse_args(given)
    if options.sound:
        return false_alarms(options.sound)
    chosen = [fault for fault in FAULTS if options.only in f"{fault.module} {fault.what}"]
    faults = spread(chosen, options.at_most)
    console = Console(width=220)

    def told(copy: Copy, fault: Fault) -> tuple[int | None, str]:
        order, text = found_by(copy, fault)
        console.print(escape(f"{'NOT FOUND' if order is None else order}: {fault.what}"))
        return order, text

    with Copies(options.jobs) as copies:
        answers = copies.ask(told, faults)
    table = Table("file", "what is missing", "order", "found by")
    for fault, (order, text) in zip(faults, answers, strict=True):
        number = "NONE" if order is None else str(order)
        table.add_row(*map(escape, (fault.module, fault.what, number, text[:90])))
    console.print(table)
    missed = sum(order is None for order, _ in answers)
    console.print(f"{len(faults) - missed} of {len(faults)} found within {ORDERS} drawn orders")
    if options.json is not None:
        options.json.write_text(
            json.dumps([[f.what, *answer] for f, answer in zip(faults, answers)], indent=1)
        )
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
