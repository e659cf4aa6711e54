"""What recording costs: `python -m benchmarks.recording`.

Runs the same operations on the same device with the trace on and off, in turns, and divides the difference of
the fastest rounds by the entries written. The promise is at most 20 us an entry.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from microbatch.testing import RecordingBackend

PROMISE = 20.0
ROUNDS, CALLS = 15, 500


def fastest(work: Callable[[], object]) -> float:
    """Microseconds a call, in the fastest of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(CALLS):
            work()
        best = min(best, time.perf_counter() - started)
    return best / CALLS * 1e6


def operations(device: RecordingBackend) -> dict[str, Callable[[], object]]:
    """What a schedule does most."""
    x, y = device.array(np.ones(8)), device.array(np.ones(8))
    stream, event = device.stream("compute"), device.event()
    return {
        "x + 1": lambda: x + 1,
        "copy": lambda: device.copy(y, x),
        "record": lambda: event.record(stream),
        "wait": lambda: stream.wait(event),
    }


def main() -> int:
    """Print the table; 1 if the promise is broken."""
    recorded, silent = RecordingBackend(), RecordingBackend()
    silent.device.trace = None
    table = Table("operation", "recorded us", "not recorded us", "entries", "us an entry")
    worst, silent_operations = 0.0, operations(silent)
    gc.disable()
    for name, work in operations(recorded).items():
        work()  # the first call finds no freed block to use again, which is an entry of its own
        recorded.trace.clear()
        work()
        entries = len(recorded.trace.entries)
        on, off = fastest(work), fastest(silent_operations[name])
        worst = max(worst, (on - off) / entries)
        table.add_row(name, f"{on:.1f}", f"{off:.1f}", str(entries), f"{(on - off) / entries:.1f}")
    Console().print(table)
    started = time.perf_counter()
    recorded.findings()
    per_entry = (time.perf_counter() - started) / max(1, len(recorded.trace.entries)) * 1e6
    Console().print(
        f"checking: {per_entry:.1f} us an entry; worst recording: {worst:.1f} us (promise {PROMISE:.0f})"
    )
    return int(worst > PROMISE)


if __name__ == "__main__":
    sys.exit(main())
