"""The example of two processes: same numbers, and communication under compute."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the example is a torch model")

EXAMPLE = Path(__file__).parents[2] / "examples" / "moe_dual_batch.py"


@pytest.mark.parametrize("driver", ["threads", "greenlets"])
def test_dual_batch_gives_the_same_numbers_and_hides_communication(driver: str) -> None:
    if driver == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver is the extra [greenlet]")
    command = [sys.executable, str(EXAMPLE), "--rows", "16", "--layers", "2", "--driver", driver]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    serial, dual = re.findall(r"(\d+)% of the communication", done.stdout)
    assert int(serial) == 0
    assert int(dual) > 0
    assert "largest difference 0.0e+00" in done.stdout
