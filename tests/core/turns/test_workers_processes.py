"""Forks and interpreter exits, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

START = """
import atexit, os, sys, threading
from tests.support.taking_turns import TurnsProgram
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
runtime = ThreadRuntime()
pool = WorkerPool(runtime)
def step():
    TurnsProgram((2, 1, 2), timeout=20.0).run(runtime, pool)
def fork():
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return child == 0
"""

PROGRAMS = {
    "exit with parked workers": "step()",
    "exit without a step": "",
    "exit by an error with parked workers": "step(); sys.exit(0)",
    "exit while a step runs in a daemon thread": """
started = threading.Event()
def forever():
    pool.run([lambda: (started.set(), threading.Event().wait()), lambda: threading.Event().wait()])
threading.Thread(target=forever, daemon=True).start()
assert started.wait(20)
""",
    "shutdown in an atexit handler": "step(); atexit.register(pool.shutdown)",
    "step in an atexit handler with workers there": "step(); atexit.register(step)",
    "fork before the first step": "child = fork(); step()",
    "fork between steps": "step(); child = fork(); step(); step()",
    "fork, and the parent goes on": "step()\nif not fork(): step(); step()",
    "child shuts down and its parent works on": """
step()
if fork():
    pool.shutdown(); os._exit(0)
step()
""",
    "child drops the pool and its parent works on": """
step()
if fork():
    del pool; sys.exit(0)
step()
""",
    "fork from inside a worker": """
def forking():
    if fork():
        other = WorkerPool(runtime)
        TurnsProgram((1, 1), timeout=20.0).run(runtime, other)
        os._exit(0)
pool.run([lambda: None, forking])
step()
""",
    "a yield in the child of a fork inside a step": """
from microbatch import dbo
from microbatch.errors import MicrobatchError
from microbatch.schedules import pingpong
from tests.support.taking_turns import make_step
def compute(context, ubatch):
    dbo.dbo_yield()
    if ubatch == 1 and fork():
        try:
            dbo.dbo_yield()
        except MicrobatchError as error:
            os._exit(0 if "forked" in str(error) else 3)
        os._exit(4)
    dbo.dbo_yield()
pingpong.run(make_step(runtime, pool, 2, compute, barrier_timeout=20.0))
step()
""",
    "a wrapper in the child of a fork": """
import numpy, microbatch
from microbatch import dbo
def layer(x):
    dbo.dbo_yield()
    return x + 1
for driver in ("threads", "greenlets"):
    wrapped = microbatch.wrap(layer, schedule="pingpong", driver=driver, policy="fixed", num_ubatches=3)
    rows = numpy.arange(6.0)
    assert (wrapped(rows) == rows + 1).all()
    fork()
    assert (wrapped(rows) == rows + 1).all()
""",
    "a process pool beside the wrapper": """
import multiprocessing
step()
with multiprocessing.get_context("spawn").Pool(1) as processes:
    assert processes.map(abs, [-1]) == [1]
step()
""",
}


@pytest.mark.bad_input(63)
@pytest.mark.pitfall(25)
@pytest.mark.case(33, 34, 35, 36, 37, 38)
@pytest.mark.parametrize("name", PROGRAMS)
def test_process(name: str) -> None:
    if "fork" in name and not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    script = (
        START
        + 'if __name__ == "__main__":\n'
        + "\n".join(f"    {line}" for line in PROGRAMS[name].splitlines() or ["pass"])
    )
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "ignore::DeprecationWarning", "-c", script],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
