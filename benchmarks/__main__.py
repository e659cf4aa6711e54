"""`python -m benchmarks NAME [--json FOLDER]`: print a table, or `all`; `gpu --all`: the checks, too; `where
WORK`: where its time goes.
"""

from __future__ import annotations

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks import machine
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
APART_FROM_TABLES = ("where", "plots")
"""What is no table: where the time of a step goes, and the plots of `docs/benchmarks.md`."""


def main(arguments: list[str]) -> int:
    """Print the tables asked for; 1 if a figure was not reached."""
    if arguments[:1] in ([name] for name in APART_FROM_TABLES):
        answered: int = import_module(f"benchmarks.{arguments[0]}").main(arguments[1:])
        return answered
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", epilog="where WORK: where its time goes; plots"
    )
    parser.add_argument("names", nargs="+", choices=[*TABLES, "all"])
    parser.add_argument("--json", type=Path, help="folder for one JSON file a table")
    parser.add_argument("--all", action="store_true", help="with `gpu`: a process a part, into one file")
    parser.add_argument("--simulated", action="store_true", help="with `gpu --all`: where there is no device")
    parser.add_argument("--seconds", type=float, default=600.0, help="with `gpu --all`: the whole time")
    options = parser.parse_args(arguments)
    if options.all:
        if options.names != ["gpu"]:
            parser.error("--all goes with `gpu` alone")
        run_all = import_module("benchmarks.gpu_all").run_all
        file = (options.json or Path()) / "gpu.json"
        return int(run_all(file, simulated=options.simulated, seconds=options.seconds))
    names = [name for name in TABLES if name not in APART] if "all" in options.names else options.names
    if options.json:
        options.json.mkdir(parents=True, exist_ok=True)
        (options.json / "machine.json").write_text(json.dumps(machine.facts(), indent=1))
    reached = True
    for name in names:
        rows = import_module(f"benchmarks.{name}").table()
        show(TABLES[name], rows, options.json / f"{name}.json" if options.json else None)
        reached = reached and all(row.reached for row in rows)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
