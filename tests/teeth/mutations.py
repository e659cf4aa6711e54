"""Which tests notice a forgotten wait: `python -m tests.teeth.mutations`.

Removes each ordering operation of the schedules in turn (record, wait and synchronize of events and streams), runs the
schedule tests on the recording and the adversarial device against the damaged copy, and prints a table. An operation
whose removal no test notices is a missing test or a needless operation; the exit status is the number of those.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.teeth.damage import copied, first_failure, replaced

TESTS = "tests/core/schedules/test_on_devices.py"
DEVICES = {"recording": "unordered", "adversarial": "not unordered"}
"""Which of the tests run on which device, as pytest's `-k` says it."""
PLACES = ("schedules/*.py", "turns/streams.py", "turns/step_lanes.py", "turns/seat.py", "batch/home.py")
"""Where core orders device work; `turns/` does it for pingpong, `batch/home.py` for results."""
RECEIVERS = (
    "event", "entry", "mark", "end", "ready", "slot.fetched", "slot.computed", "slot.sent", "stream", "here",
    "self.streams", "self._caller", "self._streams[self.lane]", "self._copy_in", "self._compute", "self._copy_out",
)  # fmt: skip
"""What an ordering operation is called on; other `wait` and `record` methods are of gates and errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call that orders device work."""

    path: Path
    """The file, below the package."""
    line: int
    """Where in it."""
    text: str
    """The call."""
    start: int
    """First byte in the file."""
    end: int
    """Byte after the last."""


def operations(package: Path) -> Iterator[Operation]:
    """Every ordering operation of the schedules."""
    for pattern in PLACES:
        for path in sorted(package.glob(pattern)):
            source = path.read_text()
            starts = [0]
            for text in source.encode().splitlines(keepends=True):
                starts.append(starts[-1] + len(text))
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Call) and _orders(node):
                    assert node.end_lineno is not None and node.end_col_offset is not None
                    yield Operation(
                        path=path.relative_to(package),
                        line=node.lineno,
                        text=ast.unparse(node),
                        start=starts[node.lineno - 1] + node.col_offset,
                        end=starts[node.end_lineno - 1] + node.end_col_offset,
                    )


def _orders(node: ast.Call) -> bool:
    if not isinstance(node.func, ast.Attribute):
        return False
    return node.func.attr in ("record", "wait", "synchronize") and ast.unparse(node.func.value) in RECEIVERS


def without(source: bytes, operation: Operation) -> bytes:
    """`source` with the call replaced by what it would answer: True for a synchronize, None for the others."""
    answer = b"True" if ".synchronize(" in operation.text else b"None"
    return source[: operation.start] + answer + source[operation.end :]


def main() -> int:
    """Print the table; returns the number of operations whose removal nothing notices."""
    rows, survivors = [], 0
    with copied() as packages:
        package = packages / "microbatch"
        unharmed = first_failure(packages, TESTS)
        if unharmed:
            raise SystemExit(f"{unharmed} fails on the undamaged package; repair that first")
        for operation in list(operations(package)):
            path = package / operation.path
            with replaced(path, without(path.read_bytes(), operation)):
                killed = [first_failure(packages, "-k", chosen, TESTS) for chosen in DEVICES.values()]
            survivors += not any(killed)
            rows.append(
                (f"{operation.path}:{operation.line}", operation.text, *(name or "-" for name in killed))
            )
    table = Table("place", "removed", *(f"noticed by the {device} device" for device in DEVICES))
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console = Console(width=180)
    console.print(table)
    console.print(f"{len(rows) - survivors} of {len(rows)} noticed")
    return survivors


if __name__ == "__main__":
    sys.exit(main())
