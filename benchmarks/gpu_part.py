"""One part of `python -m benchmarks gpu --all`, in a process of its own: `python -m benchmarks.gpu_part NAME
FILE [--simulated]`.

FILE gets what became of it as JSON. Nothing is written where the process dies; who started it knows why then.
"""

from __future__ import annotations

import json
import resource
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.gpu_answers import State, write_whole
from benchmarks.gpu_devices import Missing, device_for
from benchmarks.gpu_parts import Part, part_called

__all__ = ["main", "outcome"]


def outcome(part: Part, simulated: bool) -> dict[str, Any]:
    """State, text, rows and facts of `part`, run here."""
    module, _, name = part.work.partition(":")
    try:
        with device_for(part, simulated) as scale:
            work: Callable[..., Any] = getattr(import_module(module), name)
            made, rehearsed = work(scale, *part.arguments), scale.simulated and part.is_timed
    except Missing as missing:
        return {"state": missing.state, "text": str(missing)}
    except Exception as error:  # noqa: BLE001 - it is the answer
        where = "".join(traceback.format_exception(error, limit=-6))
        return {"state": "failed", "text": f"{type(error).__name__}: {error}", "facts": {"trace": where}}
    rows, facts = made if isinstance(made, tuple) else (made, {})
    missed = [f"{row.work}: {row.measured}" for row in rows if not row.reached]
    state: State = "rehearsed" if rehearsed else "missed" if missed else "reached"
    return {
        "state": state,
        "text": "" if rehearsed else "; ".join(missed),
        "rows": [asdict(row) for row in rows],
        "facts": facts,
    }


def main(given: Sequence[str]) -> int:
    """Run the part, and write what became of it; it leaves no core file where it is told to abort."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    name, file, *options = given
    write_whole(Path(file), json.dumps(outcome(part_called(name), "--simulated" in options)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
