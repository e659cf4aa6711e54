"""The pytest plugin, in runs of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
def test_name(microbatch_backend):
    print("ran on", microbatch_backend.name)

def test_other():
    pass
"""


@pytest.fixture
def run(tmp_path: Path):  # type: ignore[no-untyped-def]
    (tmp_path / "test_it.py").write_text(TEST)

    def runs(*options: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rP",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
        ]
        if not _installed():
            command += ["-p", "microbatch.testing.plugin"]
        return subprocess.run(
            [*command, *options, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
        )

    return runs


def _installed() -> bool:
    from importlib.metadata import entry_points

    return any(point.value == "microbatch.testing.plugin" for point in entry_points(group="pytest11"))


def test_without_the_option_tests_run_on_cpu(run) -> None:  # type: ignore[no-untyped-def]
    done = run()
    assert "2 passed" in done.stdout
    assert "ran on cpu" in done.stdout


def test_each_named_backend_is_used(run) -> None:  # type: ignore[no-untyped-def]
    done = run(
        "--microbatch-backend=recording", "--microbatch-backend=adversarial", "--microbatch-backend=recording"
    )
    assert "3 passed" in done.stdout, done.stdout
    assert "ran on recording" in done.stdout
    assert "ran on adversarial" in done.stdout


def test_an_unknown_backend_ends_the_run_with_the_near_match(run) -> None:  # type: ignore[no-untyped-def]
    done = run("--microbatch-backend=cpuu")
    assert done.returncode != 0
    assert "did you mean 'cpu'?" in done.stdout + done.stderr
