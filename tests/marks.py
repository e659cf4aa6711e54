"""Marks that carry the numbers of a list, read from the test files without importing them.

A test shows number 7 of a list if `@pytest.mark.<marker>(7)` is one of its decorators, stands inside one (on
a parameter), or is on its class. A mark anywhere else shows nothing, and is found with an empty `test`.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Mark", "collected", "lost", "marks", "marks_of", "missing"]

ROOT = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Mark:
    """One `@pytest.mark.<marker>(...)`."""

    file: str
    """Where it stands, relative to the tests."""
    line: int
    """Its line."""
    numbers: tuple[object, ...]
    """What it names; an expression that is no constant as its source."""
    test: str
    """The test or test class it is on; empty where it is on nothing that pytest collects."""


@cache
def marks(marker: str) -> tuple[Mark, ...]:
    """Those of the whole suite."""
    return tuple(
        mark
        for path in sorted(ROOT.rglob("*.py"))
        if f"pytest.mark.{marker}" in path.read_text()
        for mark in marks_of(path.read_text(), marker, str(path.relative_to(ROOT)))
    )


def marks_of(source: str, marker: str, file: str = "") -> list[Mark]:
    """The marks in one test file."""
    tree = ast.parse(source)
    tests = {
        id(call): name
        for name, node in collected(tree)
        for decorator in node.decorator_list
        for call in ast.walk(decorator)
    }
    return [
        Mark(file, node.lineno, tuple(_value(argument) for argument in node.args), tests.get(id(node), ""))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{marker}"
    ]


def collected(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Test functions, test classes and their methods; of two with one name Python keeps the later one."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.startswith("Test")]
    for prefix, body in [("", tree.body)] + [(f"{node.name}::", node.body) for node in classes]:
        kept = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
        yield from ((prefix + name, node) for name, node in kept.items() if name.startswith("test_"))
    yield from ((node.name, node) for node in {node.name: node for node in classes}.values())


def missing(marker: str, numbers: Collection[int], *, without: str = "\0") -> list[int]:
    """The numbers that no test shows; tests in files that begin with `without` are not counted."""
    shown = {
        number
        for mark in marks(marker)
        if mark.test and not mark.file.startswith(without)
        for number in mark.numbers
    }
    return sorted(set(numbers) - shown)


def lost(marker: str, numbers: Collection[int]) -> list[Mark]:
    """Marks that show nothing: on no test, without a number, with a wrong one, in a file nobody collects."""
    return [
        mark
        for mark in marks(marker)
        if not mark.test
        or not mark.numbers
        or not set(mark.numbers) <= set(numbers)
        or not Path(mark.file).name.startswith("test_")
    ]


def _value(argument: ast.expr) -> object:
    return argument.value if isinstance(argument, ast.Constant) else ast.unparse(argument)
