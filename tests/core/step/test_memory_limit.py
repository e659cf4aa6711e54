"""On a CPU nothing is raised when memory runs out, the process ends: so the limit is kept without being
touched."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which only Linux has")

MIB = 1 << 20

SEARCH = """
import resource, sys
import numpy as np
import microbatch
from microbatch.host.proc import peak_bytes, resident_bytes

points = np.random.default_rng(1).standard_normal((4000, 8)).astype(np.float32)
norms = (points * points).sum(1)

def nearest(x):
    # rows x 4000 distances: 500 times the input, and the answer is one number a row
    distances = norms - 2 * (x @ points.T)
    return distances.argmin(1)

queries = np.random.default_rng(2).standard_normal((@ROWS, 8)).astype(np.float32)
nearest(queries[:2])
expected = np.concatenate([nearest(queries[at : at + 64]) for at in range(0, @ROWS, 64)])
"""

UNDER_LIMIT = """
def address_space():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmSize:"))

wrapped = microbatch.wrap(nearest, @OPTIONS)
limit = address_space() + 160 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
answer = nearest(queries) if sys.argv[1] == "plain" else wrapped(queries)
assert (answer == expected).all()
if sys.argv[1] != "plain":
    report = wrapped.last_report
    assert not report.oom_sizes, report
    wrapped.shutdown()
print("same answer")
"""

UNTOUCHED = """
wrapped = microbatch.wrap(nearest, memory_limit=@LIMIT, @OPTIONS)
highest = 0
for call in range(@CALLS):
    start = resident_bytes()
    open("/proc/self/clear_refs", "w").write("5")
    assert (wrapped(queries) == expected).all()
    report = wrapped.last_report
    # the guard starts the high-water mark again, so what it measured counts as well
    highest = max(highest, peak_bytes() - start, report.peak_bytes or 0)
    assert max(report.sizes) < len(queries)
print(highest)
wrapped.shutdown()
"""


def run(
    program: str, *words: str, rows: int = 12000, limit: int = 0, calls: int = 1, options: str = ""
) -> Any:
    for name, value in (("@ROWS", rows), ("@LIMIT", limit), ("@CALLS", calls), ("@OPTIONS", options)):
        program = program.replace(name, str(value))
    return subprocess.run(  # one thread of BLAS: each more holds an address space of its own
        [sys.executable, "-c", program, *words],
        capture_output=True, text=True, timeout=120, check=False,
        env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_where_the_plain_call_dies_the_wrapped_one_answers() -> None:
    plain = run(SEARCH + UNDER_LIMIT, "plain")
    assert plain.returncode != 0
    assert "MemoryError" in plain.stderr
    wrapped = run(SEARCH + UNDER_LIMIT, "wrapped")
    assert wrapped.stdout.strip() == "same answer", wrapped.stderr


@pytest.mark.parametrize("rows", [400, 12000])
@pytest.mark.parametrize("calls", [1, 12])
def test_a_memory_limit_is_never_touched(rows: int, calls: int) -> None:
    limit = 24 * MIB if rows > 400 else 6 * MIB  # the plain calls need 366 and 12 MiB
    done = run(SEARCH + UNTOUCHED, rows=rows, limit=limit, calls=calls)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= limit
