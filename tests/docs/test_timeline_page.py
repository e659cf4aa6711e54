"""The tables of the page on timelines are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

from microbatch.timeline import causes, costs
from microbatch.timeline.bars import Phase
from microbatch.timeline.doctor import CAUSES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/timeline.md").read_text()


def test_its_phases_are_those_of_bars() -> None:
    """Each is explained, and no other."""
    rows = re.findall(r"^\| (`.*?) \|", PAGE.partition("## Figures")[0], re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", " ".join(rows))) == set(get_args(Phase))


def test_its_causes_are_those_of_the_doctor() -> None:
    """In the same order."""
    told = re.findall(r"^\| ([a-z -]+) \|", PAGE.partition("## The doctor")[2], re.MULTILINE)
    named = {}
    for module in (causes, costs):
        tree = ast.parse(Path(module.__file__ or "").read_text())
        for function in tree.body:
            if isinstance(function, ast.FunctionDef):
                words = [
                    k.value for k in ast.walk(function) if isinstance(k, ast.keyword) and k.arg == "cause"
                ]
                named[function.name] = [word.value for word in words if isinstance(word, ast.Constant)]
    assert [cause for cause in told if cause != "cause"] == [named[cause.__name__][0] for cause in CAUSES]


def test_files_that_it_names_exist() -> None:
    """As in the other documents."""
    named = re.findall(r"`((?:core|examples|docs)/[\w./-]*)`", PAGE)
    assert named and all((ROOT / name).exists() for name in named)
