"""`docs/benchmarks.md` is filled from what runs wrote, and names works and pictures that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.__main__ import TABLES
from benchmarks.document import filled, table
from benchmarks.table import Row, ratio_row, show, skipped_row
from benchmarks.where import WORKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/benchmarks.md").read_text()


def run_of(folder: Path, ratio: float) -> Path:
    """One run with two rows, as the benchmark writes it."""
    rows = [
        ratio_row("a | b", "a loop", at_least=1, base=ratio, ours=1.0, details={"best": "loop 8"}),
        skipped_row("a | b", "numba", "numba is not installed"),
    ]
    show("two rows", rows, folder / "peers.json")
    (folder / "machine.json").write_text(json.dumps({"processor": "some", "load": str(ratio)}))
    return folder


def test_three_runs_become_their_median_and_their_spread(tmp_path: Path) -> None:
    """Whatever their order, and only where there is a table."""
    runs = [run_of(tmp_path / str(ratio), ratio) for ratio in (1.1, 0.9, 12.5)]
    page = filled(PAGE, runs)
    assert "| a \\| b | a loop | >= 1x | 1.10x | 0.90x to 12.50x | 2 of 3 | base_ms 1100.0" in page
    assert "| numba |  | skipped | skipped | 3 of 3 | why numba is not installed |" in page
    assert "| load | 1.1, 0.9, 12.5 |" in page and "| processor | some |" in page
    assert len(re.findall("<!-- table", page)) == len(re.findall("<!-- table", PAGE))


def test_filling_twice_changes_nothing(tmp_path: Path) -> None:
    """Also what no run has stays."""
    run = run_of(tmp_path / "1", 2.0)
    once = filled(PAGE, [run])
    assert filled(once, [run]) == once
    assert filled(once, [tmp_path]) == once


@given(st.lists(st.floats(0.01, 9000), min_size=1, max_size=7))
def test_the_median_is_between_least_and_most(ratios: list[float]) -> None:
    """With thousands too."""
    rows = [Row(work="w", against="a", aim="", measured=f"{ratio:,.2f}x", reached=True) for ratio in ratios]
    runs = [
        [{"work": "w", "against": "a", "aim": "", "measured": row.measured, "reached": True, "details": {}}]
        for row in rows
    ]
    cells = [cell.strip() for cell in table(runs).splitlines()[2].split("|")]
    spread = [float(text.rstrip("x").replace(",", "")) for text in cells[5].split(" to ")]
    assert spread[0] <= float(cells[4].rstrip("x").replace(",", "")) <= spread[-1]
    assert (spread[0], spread[-1]) == (round(min(ratios), 2), round(max(ratios), 2))


def test_the_page_names_what_there_is() -> None:
    """Tables, works and pictures."""
    named = re.findall(r"<!-- table: (\w+) -->", PAGE)
    assert len(named) == len(set(named)) and set(named) <= {*TABLES, "machine"}
    works = PAGE.partition("Works: ")[2].partition(".\n")[0]
    assert re.findall(r"`([\w-]+)`", works) == list(WORKS)
    assert all((ROOT / "docs" / name).exists() for name in re.findall(r"\]\(([\w-]+\.png)\)", PAGE))
