"""The example in each hook's description is a plugin that works."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from microbatch.extend import hookspecs
from microbatch.extend.records import StepReport
from microbatch.extend.registry import HOOKS

ANNOUNCED = {
    "microbatch_register_backends": "backend npu",
    "microbatch_register_policies": "policy sixteen",
    "microbatch_register_containers": "container acme_pairs:Pair",
    "microbatch_step_finished": "observer of steps",
}


def example(hook: str) -> str:
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    return inspect.cleandoc(text.split("A complete plugin::")[1])


def test_there_are_these_hooks() -> None:
    assert set(HOOKS) == set(ANNOUNCED)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_is_accepted_without_a_complaint(site: Any, hook: str) -> None:
    site.install("acme", example(hook))
    (line,) = site.plugins().plugins()
    assert (line.available, line.reason, line.summary) == (True, "", ANNOUNCED[hook])


def test_the_policy_of_the_example_can_be_looked_up(site: Any) -> None:
    site.install("acme", example("microbatch_register_policies"))
    assert site.plugins().policy("sixteen").propose(None).limit == 16


def test_the_backend_of_the_example_says_what_is_missing(site: Any) -> None:
    site.install("acme", example("microbatch_register_backends"))
    (line,) = site.plugins().backends()
    assert (line.reason, line.remedy) == ("acme_npu is not installed", "pip install acme-npu")


def test_the_observer_of_the_example_prints(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("acme", example("microbatch_step_finished"))
    report = StepReport(step=7, num_tokens=4, num_requests=4, sizes=(2, 2), seconds=0.5)
    site.plugins().step_finished(report)
    assert capsys.readouterr().err == "step 7: (2, 2) in 0.500 s\n"
