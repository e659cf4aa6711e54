"""A function that notes which rows it was called with, and what each kind of output then holds.

`write(folder)` puts it and its input there; `rows_in(path)` gives what an output holds, as plain values that
can be compared; `believed(folder, output)` how many rows an interrupted run has stored.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["KINDS", "believed", "called", "rows_in", "write"]

KINDS = {
    "y.npy": "doubled",
    "y.npz": "several",
    "y.parquet": "several",
    "y.jsonl": "listed",
    "y.txt": "words",
}
"""Output to the function that makes something for it."""
SOURCE = """
import os
import time

import numpy as np

SLEEP = float(os.environ.get("SLEEP", "0"))


def note(x):
    time.sleep(SLEEP * len(x))
    line = "".join(f"{int(row)} " for row in x[:, 0]) + "\\n"
    file = os.open("calls.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
    os.close(file)


def doubled(x):
    note(x)
    return x * 2


def several(x):
    note(x)
    return {"twice": x * 2, "sum": x.sum(1)}


def listed(x):
    note(x)
    return [{"n": float(row[0]), "more": ["é"] * (int(row[0]) % 3)} for row in x]


def words(x):
    note(x)
    return [f"row {row[0]:g} é" for row in x]
"""


def write(folder: Path, rows: int) -> None:
    """The target and an input of so many rows, the first number of each being its place."""
    (folder / "steps.py").write_text(SOURCE)
    x = np.random.default_rng(0).normal(size=(rows, 3))
    x[:, 0] = np.arange(rows)
    np.save(folder / "x.npy", x)


def called(folder: Path) -> list[int]:
    """Rows that the function was called with, in the order of its calls."""
    log = folder / "calls.log"
    return [int(row) for row in log.read_text().split()] if log.exists() else []


def believed(folder: Path, output: str) -> int:
    """Rows that a whole journal says are stored; its last line may be torn."""
    journal = folder / f"{output}.part-kept.journal"
    rows = 0
    for line in journal.read_bytes().splitlines(keepends=True)[1:] if journal.exists() else []:
        if line.endswith(b"\n"):
            entry = json.loads(line[9:])
            rows = entry["start"] + entry["rows"] if "rows" in entry else rows
    return rows


def rows_in(path: Path) -> Any:
    """What an output holds."""
    if path.suffix == ".npy":
        return np.load(path).tolist()
    if path.suffix == ".npz":
        with np.load(path) as found:
            return {name: found[name].tolist() for name in sorted(found)}
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pydict()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return path.read_text().split("\n")
