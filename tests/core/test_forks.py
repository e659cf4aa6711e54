"""Children that are forked while other threads of their parent run steps run steps of their own, and end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forking import fates_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

INSIDE = """
import os, sys
import numpy as np
import microbatch
from tests.support.forking import numbers_of_threads

weights, rows = np.linspace(-1.0, 1.0, 64 * 64).reshape(64, 64), np.ones((96, 64))
caller, children = __import__("threading").get_ident(), []

def child():
    numbers = numbers_of_threads()
    wrapped = microbatch.wrap(lambda x: x @ weights, schedule="parallel", policy="fixed", num_ubatches=3)
    right = np.allclose(wrapped(rows), rows @ weights) and np.allclose(inherited(rows), rows @ weights)
    os._exit(0 if numbers == before and right else 1 + (numbers != before))

def plain(x):
    return x @ weights

def forking(x):
    in_caller = caller == __import__("threading").get_ident()
    if in_caller not in children and len(x) == 12:
        children.append(in_caller)
        number = os.fork()
        if number == 0:
            child()
        assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0
    return x @ weights

options = {"schedule": "parallel", "policy": "fixed", "num_ubatches": 8, "verify": "never"}
inherited = microbatch.wrap(plain, **options)
wrapped = microbatch.wrap(forking, **options)
inherited(rows)
before = numbers_of_threads()
for _ in range(200):
    wrapped(rows)
    if len(children) == 2:
        break
assert sorted(children) == [False, True], children
assert numbers_of_threads() == before
"""

IMPORTING = """
import os, signal, sys, threading
import numpy as np
import microbatch

begun, may_end = threading.Event(), threading.Event()
sys.path.insert(0, sys.argv[1])

def function(x):
    import takes_long
    return x * takes_long.FACTOR

def step():
    with microbatch.wrap(function, num_ubatches=2, schedule="sequential", verify="never") as wrapped:
        return wrapped(np.ones((4, 2))).sum()

threading.Thread(target=step).start()
assert begun.wait(60)
# Run first, as the hooks before a fork are run the last one first: the import ends some time after it.
os.register_at_fork(before=threading.Timer(0.2, may_end.set).start)
number = os.fork()
if number == 0:
    signal.alarm(20)
    os._exit(0 if step() == 16 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0
"""
TAKES_LONG = """
import __main__
FACTOR = 2
__main__.begun.set()
assert __main__.may_end.wait(60)
"""


@pytest.mark.case(33)
@pytest.mark.pitfall(25)
def test_a_fork_waits_until_a_step_has_imported_what_it_needs(tmp_path: Path) -> None:
    """The child would wait for ever for the lock of that module, which is the importing thread's."""
    (tmp_path / "takes_long.py").write_text(TAKES_LONG)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", IMPORTING, str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.case(33)
@pytest.mark.pitfall(25)
def test_a_few_children_forked_beside_steps() -> None:
    """Under each schedule, with limits on memory and threads; `tox -e soak` forks five hundred."""
    fates = fates_of(5)
    assert fates.steps > 0
    assert (fates.children, fates.hung, fates.failed) == (5, 0, 0), "\n".join(fates.said)


@pytest.mark.soak
def test_five_hundred_children_forked_beside_steps() -> None:
    fates = fates_of(500)
    assert (fates.children, fates.hung, fates.failed) == (500, 0, 0), "\n".join(fates.said)


@pytest.mark.case(33, 34)
@pytest.mark.pitfall(4, 25)
def test_a_child_forked_by_a_part_of_a_parallel_step_has_all_threads_of_blas_and_torch() -> None:
    """By a part in the caller's thread, and by one in a worker's."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-X", "faulthandler", "-c", INSIDE],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
