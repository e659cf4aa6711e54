"""Which tests notice a forgotten wait: `python -m tests.teeth.mutations`.

Removes each ordering operation of the schedules in turn (record, wait and synchronize of events and streams),
runs the schedule tests on the recording and the adversarial device against the damaged copy, and prints a
table. An operation whose removal no test notices is a missing test or a needless operation; the exit status
is the number of those.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.teeth.damaged_copies import ROOT, Copies, Copy, arguments, spread

__all__ = ["main", "operations"]

TESTS = "tests/core/schedules/test_on_devices.py"
DEVICES = {"recording": "unordered", "adversarial": "not unordered"}
"""Which of the tests run on which device, as pytest's `-k` says it."""
PLACES = (
    "schedules/*.py",
    "turns/streams.py",
    "turns/step_lanes.py",
    "turns/seat.py",
    "gathering/result_memory.py",
)
"""Where core orders device work: `turns/` does it for pingpong, `gathering/result_memory.py` for results."""
RECEIVERS = (
    "event", "entry", "mark", "end", "ready", "slot.fetched", "slot.computed", "slot.sent", "stream", "here",
    "self.streams", "self._caller", "self._streams[self.lane]", "self._copy_in", "self._compute",
    "self._copy_out",
)  # fmt: skip
"""What an ordering operation is called on; other `wait` and `record` methods are of gates and errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call that orders device work."""

    module: str
    """The file, below its source root."""
    line: int
    """Where in it."""
    text: str
    """The call."""
    start: int
    """First byte in the file."""
    end: int
    """Byte after the last."""


def operations(package: Path = ROOT / "core/microbatch") -> Iterator[Operation]:
    """Every ordering operation of the schedules; RuntimeError where a place of PLACES has no file."""
    for pattern in PLACES:
        paths = sorted(package.glob(pattern))
        if not paths:
            raise RuntimeError(f"no file of the package is {pattern}; say in PLACES where it has gone")
        for path in paths:
            yield from _operations_of(path.read_text(), str(path.relative_to(package.parent)))


def _operations_of(source: str, module: str) -> Iterator[Operation]:
    starts = [0]
    for text in source.encode().splitlines(keepends=True):
        starts.append(starts[-1] + len(text))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _orders(node):
            assert node.end_lineno is not None and node.end_col_offset is not None
            yield Operation(
                module=module,
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
    """`source` with the call replaced by its usual answer: True for a synchronize, None for the others."""
    answer = b"True" if ".synchronize(" in operation.text else b"None"
    return source[: operation.start] + answer + source[operation.end :]


def noticed_by(copy: Copy, operation: Operation) -> list[str]:
    """For each device the test that fails without `operation`, or an empty text."""
    source = copy.file(operation.module).read_bytes()
    with copy.changed(operation.module, without(source, operation)):
        failed = [copy.first_failure("-k", chosen, TESTS) for chosen in DEVICES.values()]
    return [name.rpartition("::")[2] for name in failed]


def main(given: Sequence[str] = ()) -> int:
    """Print the table; returns the number of operations whose removal nothing notices."""
    options = arguments("mutations").parse_args(given)
    removed = spread(list(operations()), options.at_most)
    with Copies(options.jobs) as copies:
        copies.check_sound(TESTS)
        answers = copies.ask(noticed_by, removed)
    table = Table("place", "removed", *(f"noticed by the {device} device" for device in DEVICES))
    for operation, names in zip(removed, answers, strict=True):
        cells = (f"{operation.module}:{operation.line}", operation.text, *(name or "-" for name in names))
        table.add_row(*map(escape, cells))
    console = Console(width=180)
    console.print(table)
    survivors = sum(not any(names) for names in answers)
    console.print(f"{len(removed) - survivors} of {len(removed)} noticed")
    return survivors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
