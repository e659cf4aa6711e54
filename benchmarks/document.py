"""Fill the tables of `docs/benchmarks.md`: `python -m benchmarks.document runs/1 runs/2 runs/3`.

Each folder is one run, as `--json` writes it. Invariant: what stands between two markers of a table is what
the runs say, the median of each row and its least and most; a table that no run has stays as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
MARKED = r"(<!-- table: {name} -->\n).*?(<!-- end of table -->)"
COLUMNS = ("work", "against", "aim", "median", "least to most", "reached", "behind the median")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"

Row = Mapping[str, Any]
"""As `Row` of `table.py`, read from JSON."""


def filled(page: str, runs: Sequence[Path]) -> str:
    """The page with every table that the runs have."""
    for name in re.findall(r"<!-- table: (\w+) -->", page):
        found = [json.loads(path.read_text()) for run in runs if (path := run / f"{name}.json").exists()]
        if not found:
            continue
        text = machine(found) if name == "machine" else table(found)
        page = re.sub(
            MARKED.format(name=name),
            lambda marks, text=text: marks[1] + text + marks[2],
            page,
            flags=re.DOTALL,
        )
    return page


def machine(runs: Sequence[Mapping[str, str]]) -> str:
    """What the runs ran on; where they differ, each value once."""
    names = dict.fromkeys(name for run in runs for name in run)
    lines = [
        f"| {name} | {', '.join(dict.fromkeys(run[name] for run in runs if name in run))} |" for name in names
    ]
    return "| what | is |\n|---|---|\n" + "\n".join(lines) + "\n"


def table(runs: Sequence[Sequence[Row]]) -> str:
    """One line for each row, in the order in which they came."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for run in runs:
        for row in run:
            rows.setdefault((row["work"], row["against"]), []).append(row)
    return HEAD + "".join(_line(same) + "\n" for same in rows.values())


def _line(rows: Sequence[Row]) -> str:
    ordered = sorted(rows, key=_number)
    median = ordered[(len(ordered) - 1) // 2]
    least, most = ordered[0]["measured"], ordered[-1]["measured"]
    cells = (
        median["work"],
        median["against"],
        median["aim"],
        median["measured"],
        least if least == most else f"{least} to {most}",
        f"{sum(row['reached'] for row in rows)} of {len(rows)}",
        ", ".join(f"{name} {value}" for name, value in median["details"].items()),
    )
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _number(row: Row) -> float:
    """The figure at the beginning of what was measured; 0 for a row that was skipped."""
    found = re.search(r"[-+]?\d[\d,]*\.?\d*", row["measured"])
    return float(found[0].replace(",", "")) if found else 0.0


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), [Path(name) for name in sys.argv[1:]]))
