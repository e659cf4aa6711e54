"""The count tells a process from the one it was forked from."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import os
from microbatch.host.forks import FORKS

def forked(depth):
    before = FORKS.count
    child = os.fork()
    if child == 0:
        os._exit(FORKS.count != before + 1 or (depth > 1 and forked(depth - 1)))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) or FORKS.count != before

raise SystemExit(forked(3))
"""


@pytest.mark.case(33)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_each_child_has_another_count_and_its_parent_keeps_its_own() -> None:
    """Children of children too."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
