"""Other processes that keep the cores busy, as a neighbour's job does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

CODE = """
import numpy
x = numpy.random.rand(1 << 14).astype("float32")
print("busy", flush=True)
while True:
    numpy.exp(x)
"""


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many run until the block is left, each on a core if it gets one; none outlives it."""
    running = [
        subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE) for _ in range(processes)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.communicate()
