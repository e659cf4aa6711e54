"""The same cases on vLLM's own files: all end with the plugin, and without it five hang or crash."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from microbatch_vllm import register, unregister
from microbatch_vllm.replacing import KEPT
from observe import table
from real_files import RealRunner, loaded, missing

from cases import CASES, outcome

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
UPSTREAM = {
    "equal yields": "outputs [0, 1], hooks 0",
    "unequal yields": "hangs",
    "three ubatches": "hangs",
    "an error after one yield": "hangs",
    "a hook for a sibling that left": "hangs",
    "the same with two ubatches": (
        "Microbatch 0 of 2 failed: AttributeError(\"'NoneType' object has no attribute 'recv_hook'\")"
    ),
}
"""How vLLM 0.33.0 ends each case."""


@pytest.fixture
def modules() -> Iterator[Any]:
    """vLLM's modules on our hand-off."""
    with loaded() as found:
        register()
        assert KEPT in vars(found.ubatching.UBatchContext)
        yield found
        unregister()


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_as_it_should_in_vllms_own_runner(modules: Any, name: str) -> None:
    """Twice with one runner, since it keeps its barrier; vLLM's tables are empty afterwards."""
    case = CASES[name]
    runner = RealRunner(modules, len(case.yields))
    for _ in range(2):
        assert outcome(runner, modules.ubatching, case) == case.expected
        assert not modules.ubatching.dbo_enabled()
        assert set(modules.ubatching._CURRENT_CONTEXTS) == {None}


def test_a_capture_that_was_given_up_runs_to_its_end(modules: Any) -> None:
    """V2 parks the threads before a capture; `abort_pending_run` lets them go."""
    runner, ran = RealRunner(modules, 2), []

    def body() -> int:
        modules.ubatching.dbo_yield()
        ran.append(modules.ubatching.dbo_current_ubatch_id())
        return 0

    runner.begin([body] * 2, for_capture=True)
    assert ran == []
    runner.runner.abort_pending_run()
    assert ran == [0, 1]


def test_without_the_plugin_vllm_hangs_or_crashes_where_the_readme_says_so() -> None:
    """In a child, which can end though threads hang."""
    command = [sys.executable, str(HERE / "observe.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    ends = json.loads(done.stdout)
    assert ends["upstream"] == UPSTREAM
    assert ends["plugin"] == {name: case.expected for name, case in CASES.items()}
    assert table(ends) in (HERE.parent / "README.md").read_text()
