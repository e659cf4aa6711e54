"""How each case ends on vLLM's real files, with the plugin and without: `python observe.py` prints a table.

A step that hangs keeps its threads for ever. So each has modules of its own, all have the same few seconds,
and the process ends without asking what hangs.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from microbatch_vllm import register
from real_files import RealRunner, loaded

from cases import CASES, outcome

SECONDS = 5.0
"""After which a step hangs; one that ends takes milliseconds."""


def observe() -> dict[str, dict[str, str]]:
    """Case to how it ends, without the plugin under "upstream" and with it under "plugin"."""
    ends = {way: dict.fromkeys(CASES, "hangs") for way in ("upstream", "plugin")}
    steps = [started(way, name, ends[way]) for way in ends for name in CASES]
    end = time.monotonic() + SECONDS
    for step in steps:
        step.join(max(0.0, end - time.monotonic()))
    return ends


def started(way: str, name: str, ends: dict[str, str]) -> threading.Thread:
    """A thread that runs the step of one case, and puts its end into `ends`."""
    with loaded() as modules:
        if way == "plugin":
            register()
        runner = RealRunner(modules, len(CASES[name].yields))

    def run() -> None:
        ends[name] = outcome(runner, modules.ubatching, CASES[name])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def table(ends: Any) -> str:
    """As in the README."""
    lines = ["| case | vLLM 0.33.0 | with microbatch-vllm |", "|---|---|---|"]
    lines += [f"| {name} | {ends['upstream'][name]} | {ends['plugin'][name]} |" for name in CASES]
    return "\n".join(lines)


if __name__ == "__main__":
    found = observe()
    print(json.dumps(found) if "--json" in sys.argv else table(found), flush=True)
    os._exit(0)
