"""The policy keeps the suite's promises, finds known knees, and the README's policy works as written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from microbatch_kneedle import Kneedle, knee

from microbatch import SizingRequest, StepReport
from microbatch.testing import PolicySuite


class TestKneedle(PolicySuite):
    not_promised: ClassVar = dict.fromkeys(
        ("never_runs_out_of_memory", "shrinks_below_a_failure"),
        "looks at no memory; that is for memory-model before it in a chain",
    )

    def make(self) -> Any:
        return Kneedle()


def settle(policy: Kneedle, seconds: Any, units: int = 1024, steps: int = 40) -> list[int]:
    limits = []
    for step in range(steps):
        proposal = policy.propose(SizingRequest(num_tokens=units, num_requests=units, step=step))
        limit = proposal.limit
        assert limit is not None
        parts = -(-units // limit)
        report = StepReport(
            step=step,
            num_tokens=units,
            num_requests=units,
            sizes=(limit,) * parts,
            seconds=parts * seconds(limit),
            limit=limit,
        )
        policy.observe(report)
        limits.append(limit)
    return limits


@pytest.mark.parametrize("start", [8, 32, 128])
def test_it_settles_where_the_rate_stops_to_grow(start: int) -> None:
    limits = settle(Kneedle(), lambda size: max(size, start))
    assert limits[-1] == start
    assert set(limits) == {4 << step for step in range(9)}


def test_without_a_knee_it_takes_the_fastest() -> None:
    assert settle(Kneedle(), lambda size: 1.0)[-1] == 1024
    assert knee([5.0, 4.0]) == 0


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=12), st.integers(1, 1000))
def test_the_knee_does_not_depend_on_the_unit_of_time(rates: list[float], scale: int) -> None:
    exact = [float(round(rate)) for rate in rates]
    assert knee(exact) == knee([rate * 2.0 ** (scale % 20) for rate in exact])


def test_what_was_learned_is_measured_once_more_after_a_restart() -> None:
    first, second = Kneedle(), Kneedle()
    before = settle(first, lambda size: max(size, 32))
    second.restore(json.loads(json.dumps(first.state())))
    after = settle(second, lambda size: max(size, 32))
    assert set(before[18:]) == set(after[9:]) == {32}
    assert set(after[:9]) == set(before[:18])


@pytest.mark.parametrize("options", [{"repeats": 0}, {"repeats": 1.5}, {"sensitivity": -1}])
def test_a_bad_option_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Kneedle(**options)


def test_the_readme_is_a_passing_policy_in_under_40_lines(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "README.md").read_text()
    files = re.findall(r"^`([\w./]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in files] == ["pyproject.toml", "thirds.py", "test_thirds.py"]
    assert sum(len(body.splitlines()) for _, body in files) < 40
    for name, body in files:
        (tmp_path / name).write_text(body)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_thirds.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plugin_is_listed() -> None:
    command = [sys.executable, "-m", "microbatch", "plugins", "--json"]
    listed = json.loads(subprocess.run(command, capture_output=True, timeout=120, check=True).stdout)
    line = next(line for line in listed if line["name"] == "kneedle")
    assert (line["distribution"], line["available"]) == ("microbatch-kneedle", True)
