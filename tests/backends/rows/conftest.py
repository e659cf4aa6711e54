"""What the tests of rows share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def subprocess_modules() -> Callable[[str], set[str]]:
    """modules(code) -> the top-level modules that are loaded once a fresh process has run it."""

    def modules(code: str) -> set[str]:
        shown = f"{code}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
        done = subprocess.run(
            [sys.executable, "-c", shown], capture_output=True, text=True, timeout=60, check=True
        )
        return set(done.stdout.split())

    return modules
