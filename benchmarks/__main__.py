"""`python -m benchmarks NAME [--json FOLDER]`: print a table, or `all`; `where WORK`: where its time goes."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import where
from benchmarks.table import show

TABLES = {
    "cpu": "CPU: against the plain call and the best hand-written loop",
    "peers": "CPU: against what users would pick instead",
    "models": "Whole models with random weights, against the plain call",
    "growth": "What a step costs as it has more ubatches, yields and ranks",
    "minilm": "MiniLM on the real text",
    "handoff": "Hand-off: against a ring of events with threads per step",
    "collectives": "Models of several ranks, their communication hidden without edits",
    "sizing": "Sizing: against the searches in use elsewhere",
    "scale": "10^9 rows on 100 machines: a model, from what runs on this machine cost",
    "jax": "JAX: against the best jax.lax.map of a sweep",
    "gpu": "GPU",
}
APART = ("gpu", "jax")
"""Tables that `all` leaves out, as they need what most machines have not."""


def main(arguments: list[str]) -> int:
    """Print the tables asked for; 1 if a figure was not reached."""
    if arguments[:1] == ["where"]:
        return where.main(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks", epilog="where WORK: where its time goes")
    parser.add_argument("names", nargs="+", choices=[*TABLES, "all"])
    parser.add_argument("--json", type=Path, help="folder for one JSON file a table")
    options = parser.parse_args(arguments)
    names = [name for name in TABLES if name not in APART] if "all" in options.names else options.names
    reached = True
    for name in names:
        rows = import_module(f"benchmarks.{name}").table()
        show(TABLES[name], rows, options.json / f"{name}.json" if options.json else None)
        reached = reached and all(row.reached for row in rows)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
