"""What the distribution holds: all of `microbatch.testing` as its page says, and nothing of the tests."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCE_ROOTS = ("core", "backends", "plugins")
OURS_ALONE = ("tests", "benchmarks", "examples")
"""Folders that no installed module may import from: they are not installed."""


@pytest.fixture(scope="module")
def build() -> dict[str, Any]:
    """What hatchling is told."""
    settings: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return settings["tool"]["hatch"]["build"]  # type: ignore[no-any-return]


def test_the_page_lists_each_part_of_the_testing_package() -> None:
    page = (ROOT / "docs/testing.md").read_text()
    table = page.partition("## What is installed")[2].partition("\n## ")[0]
    parts_told = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    told = [name for cell in parts_told for name in re.findall(r"`(\w+)`", cell)]
    parts = (ROOT / "core/microbatch/testing").iterdir()
    shipped = {path.stem for path in parts if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert sorted(told) == sorted(shipped - {"__init__"})


def test_no_installed_module_imports_what_is_not_installed() -> None:
    files = [path for root in SOURCE_ROOTS for path in sorted((ROOT / root).rglob("*.py"))]
    wrong = {str(path): name for path in files for name in imported(path) if name.split(".")[0] in OURS_ALONE}
    assert files and not wrong


def test_the_wheel_holds_the_three_packages_and_no_test(build: dict[str, Any]) -> None:
    packages = build["targets"]["wheel"]["packages"]
    assert sorted(packages) == sorted(str(path) for path in packages_below_the_source_roots())
    assert not [name for name in build["targets"]["wheel"] if name != "packages"]


def test_the_source_archive_holds_what_the_tests_need(build: dict[str, Any]) -> None:
    held = set(build["targets"]["sdist"]["only-include"])
    assert {*SOURCE_ROOTS, *OURS_ALONE, "docs", "tox.ini"} <= held
    assert [name for name in held if not (ROOT / name).exists()] == []


def packages_below_the_source_roots() -> Iterator[Path]:
    for root in SOURCE_ROOTS:
        for folder in (ROOT / root).iterdir():
            if (folder / "__init__.py").exists():
                yield folder.relative_to(ROOT)


def imported(path: Path) -> Iterator[str]:
    """Every module that the file imports, wherever in it; relative imports stay within their package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module
