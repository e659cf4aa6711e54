"""In a control group with a hard limit the plain call is killed, and the wrapped call answers as if there
were room."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from signal import SIGKILL

import pytest

from microbatch.host.cgroups import control_groups, read_number

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")

MIB = 1 << 20
LIMITS = {1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), 2: ("memory.max", "memory.swap.max")}
"""Files of both versions: the limit, and what keeps the kernel from swapping instead of killing."""

PROGRAM = """
import sys
import numpy as np
import microbatch
from microbatch.host.cgroups import control_groups

if sys.argv[2] == "torch":
    import torch
    torch.set_num_threads(1)
    make = torch.from_numpy
else:
    make = np.asarray

points = make(np.random.default_rng(1).standard_normal((4000, 8)).astype(np.float32))
norms = (points * points).sum(1)

def nearest(x):
    # rows x 4000 distances: 500 times the input, and the answer is one number a row
    return (norms - 2 * (x @ points.T)).argmin(1)

rows = int(sys.argv[3])
queries = make(np.random.default_rng(2).standard_normal((rows, 8)).astype(np.float32))
expected = np.empty(rows, np.int64)
for at in range(0, rows, 64):
    expected[at : at + 64] = nearest(queries[at : at + 64])
wrapped = microbatch.wrap(nearest)
print("running", flush=True)
answer = nearest(queries) if sys.argv[1] == "plain" else wrapped(queries)
assert (np.asarray(answer) == expected).all()
if sys.argv[1] != "plain":
    report = wrapped.last_report
    assert report.backend == sys.argv[4] and not report.oom_sizes, report
    print("limit", report.memory_before.capacity)
wrapped.shutdown()
print("same answer")
"""


@contextmanager
def group_with_limit(limit: int) -> Iterator[Path]:
    """A control group of its own below that of this process, removed afterwards; skips where none can be
    made."""
    own = control_groups("memory")
    if not own:
        pytest.skip("this process is in no memory control group that is mounted here")
    group = own[0] / f"microbatch-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        version = 2 if (group / LIMITS[2][0]).exists() else 1
        for name in LIMITS[version]:
            if (group / name).exists():
                (group / name).write_text("0" if name == "memory.swap.max" else str(limit))
        if read_number(group / LIMITS[version][0]) != limit:
            pytest.skip("the control group made here takes no memory limit")
        yield group
    finally:
        group.rmdir()


def run(group: Path, how: str, framework: str, rows: int, backend: str) -> subprocess.CompletedProcess[str]:
    """The program as a child that enters the group before Python starts."""
    enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    command = [sys.executable, "-c", PROGRAM, how, framework, str(rows), backend]
    return subprocess.run(
        ["/bin/sh", "-c", enter, str(group), *command],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("framework", "backend", "limit", "rows"),
    [("numpy", "cpu", 160 * MIB, 12_000), ("torch", "torch-cpu", 384 * MIB, 24_000)],
)
def test_where_the_plain_call_is_killed_the_wrapped_one_answers(
    framework: str, backend: str, limit: int, rows: int
) -> None:
    if find_spec(framework) is None:
        pytest.skip(f"{framework} is not installed")
    with group_with_limit(limit) as group:
        plain = run(group, "plain", framework, rows, backend)
        assert plain.stdout == "running\n", plain.stderr
        assert plain.returncode == -SIGKILL, plain.stderr
        wrapped = run(group, "wrapped", framework, rows, backend)
    assert wrapped.returncode == 0, (wrapped.returncode, wrapped.stderr)
    assert wrapped.stdout.splitlines() == ["running", f"limit {limit}", "same answer"]
    assert not group.exists()
