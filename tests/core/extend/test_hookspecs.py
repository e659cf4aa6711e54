"""The example in each hook's description is a plugin that works."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import numpy as np
import optree
import pluggy
import pytest

import microbatch
from microbatch.extend import hookspecs
from microbatch.extend.records import StepReport
from microbatch.loading.admission import HOOKS
from microbatch.loading.plugins import register_containers
from microbatch.testing.given_plugins import GivenPolicy

ANNOUNCED = {
    "microbatch_register_backends": "backend npu",
    "microbatch_register_policies": "policy sixteen",
    "microbatch_register_containers": "container acme_pairs:Pair",
    "microbatch_register_rows": "rows of acme_lines:Lines",
    "microbatch_step_finished": "observer of steps",
}


def example(hook: str) -> str:
    text = inspect.getdoc(getattr(hookspecs, hook)) or ""
    return inspect.cleandoc(text.split("A complete plugin::")[1])


def signature(hook: str) -> str:
    """As one writes it: annotations are text in the source."""
    spec = inspect.signature(getattr(hookspecs, hook))
    parameters = ", ".join(f"{name}: {one.annotation}" for name, one in spec.parameters.items())
    return f"{hook}({parameters}) -> {spec.return_annotation}"


def test_there_are_these_hooks() -> None:
    assert set(HOOKS) == set(ANNOUNCED)


def test_every_hook_of_the_group_is_one_of_them() -> None:
    """`pluggy` knows no other, and none is named so without being one."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    assert {name for name in vars(manager.hook) if not name.startswith("_")} == set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_page_has_the_exact_signature(hook: str) -> None:
    page = (Path(__file__).parents[3] / "docs/plugins.md").read_text()
    assert f"`{signature(hook)}`" in page


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_takes_what_the_hook_gives(hook: str) -> None:
    (written,) = [
        node
        for node in ast.walk(ast.parse(example(hook)))
        if isinstance(node, ast.FunctionDef) and node.name == hook
    ]
    assert [argument.arg for argument in written.args.args] == list(
        inspect.signature(getattr(hookspecs, hook)).parameters
    )


def test_the_page_names_no_hook_that_is_none() -> None:
    page = (Path(__file__).parents[3] / "docs/plugins.md").read_text()
    assert set(re.findall(r"microbatch_\w+(?=\()", page)) == set(HOOKS)


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_is_accepted_without_a_complaint(site: Any, hook: str) -> None:
    site.install("acme", example(hook))
    (line,) = site.plugins().plugins()
    assert (line.available, line.reason, line.summary) == (True, "", ANNOUNCED[hook])


def test_the_policy_of_the_example_can_be_looked_up(site: Any) -> None:
    site.install("acme", example("microbatch_register_policies"))
    assert site.plugins().policy("sixteen").propose(None).limit == 16


def test_the_policy_of_the_example_runs_batches_of_any_size(site: Any) -> None:
    """Also those below the size that it answers."""
    site.install("acme", example("microbatch_register_policies"))
    given = GivenPolicy(site.plugins().policy("sixteen"))
    with microbatch.wrap(lambda x: x * 2, policy="given", plugins=given) as wrapped:
        for rows, sizes in ((15, (15,)), (16, (16,)), (40, (14, 13, 13))):
            np.testing.assert_array_equal(wrapped(np.arange(rows)), np.arange(rows) * 2)
            assert wrapped.last_report is not None and wrapped.last_report.sizes == sizes


def test_the_backend_of_the_example_says_what_is_missing(site: Any) -> None:
    site.install("acme", example("microbatch_register_backends"))
    (line,) = site.plugins().backends()
    assert (line.reason, line.remedy) == ("acme_npu is not installed", "pip install acme-npu")


def test_the_observer_of_the_example_prints(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("acme", example("microbatch_step_finished"))
    report = StepReport(step=7, num_tokens=4, num_requests=4, sizes=(2, 2), seconds=0.5)
    site.plugins().step_finished(report)
    assert capsys.readouterr().err == "step 7: (2, 2) in 0.500 s\n"


def test_the_container_of_the_example_is_taken_apart_and_put_together(site: Any) -> None:
    site.install("acme", example("microbatch_register_containers"))
    site.module(
        "acme_pairs",
        "class Pair:\n    def __init__(self, left, right): self.left, self.right = left, right\n",
    )
    pair = importlib.import_module("acme_pairs").Pair([1], 2)
    register_containers(site.plugins())
    doubled: Any = optree.tree_map(lambda leaf: leaf * 2, pair, namespace="microbatch")
    assert type(doubled) is type(pair)
    assert (doubled.left, doubled.right) == ([2], 4)


def test_rows_of_the_example_are_cut_and_joined(site: Any) -> None:
    """A type of a stranger goes in and out of a step as a list does."""
    site.install("acme", example("microbatch_register_rows"))
    site.module("acme_lines", "class Lines:\n    def __init__(self, lines): self.lines = lines\n")
    kind = importlib.import_module("acme_lines").Lines
    register_containers(site.plugins())
    upper = microbatch.wrap(lambda rows: kind([line.upper() for line in rows.lines]), num_ubatches=3)
    result = upper(kind(list("abcdefghij")))
    assert type(result) is kind
    assert result.lines == list("ABCDEFGHIJ")
    assert upper.last_report is not None and upper.last_report.sizes == (4, 3, 3)
