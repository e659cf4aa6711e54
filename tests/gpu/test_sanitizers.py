"""The device tests once more under tools that watch the device: torch's stream sanitizer, and memcheck.

torch's sanitizer is a dispatch mode of the importing thread; a step carries the modes of its caller into its
threads, so it sees what they launch. It tells arrays apart by where they begin and knows nothing of replays,
so captures are left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("cuda")]

ROOT = Path(__file__).parents[2]
ORDER = "test_pitfall_9 or test_pitfall_10 or test_pitfalls_11 or test_pitfall_27"
"""Tests of order and reuse on eager streams."""


def run(*command: str, chosen: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The torch tests of `chosen` in a process of their own."""
    tests = (
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "tests/gpu/test_pitfalls_torch.py",
        "-k",
        chosen,
    )
    return subprocess.run(
        [*command, sys.executable, *tests], cwd=ROOT, env={**os.environ, **environment}, capture_output=True,
        text=True, timeout=280, check=False,
    )  # fmt: skip


def test_torchs_stream_sanitizer_reports_nothing() -> None:
    done = run(chosen=f"({ORDER}) and not True", TORCH_CUDA_SANITIZER="1")
    assert done.returncode == 0 and "UnsynchronizedAccess" not in done.stdout + done.stderr, done.stdout[
        -4000:
    ]


def test_torchs_stream_sanitizer_sees_a_forgotten_wait() -> None:
    """The control: else the test above could not fail."""
    code = (
        "import torch\n"
        "x = torch.zeros(1 << 20, device='cuda')\n"
        "with torch.cuda.stream(torch.cuda.Stream()):\n"
        "    x.add_(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TORCH_CUDA_SANITIZER": "1"}, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode != 0 and "data race" in done.stdout + done.stderr


def test_memcheck_reports_nothing() -> None:
    """Without torch's cache, in which it could not tell one array from the next."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        pytest.skip("compute-sanitizer is not on the path; it comes with the CUDA toolkit")
    chosen = "test_pitfall_9 or (test_pitfall_10 and sequential) or test_pitfall_27"
    done = run(
        tool, "--tool", "memcheck", "--error-exitcode", "9", chosen=chosen, PYTORCH_NO_CUDA_MEMORY_CACHING="1"
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
