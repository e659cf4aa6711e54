"""Every numbered case has a test, and every mark names a case: read from the sources, without importing them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cases import CASES

ROOT = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Mark:
    """One `@pytest.mark.case(...)`."""

    place: str
    """File and line."""
    numbers: tuple[object, ...]
    """What it names."""
    test: str
    """The test it is on; empty where it is on nothing that pytest collects."""


def marks_of(source: str, place: str, marker: str = "case") -> list[Mark]:
    """The marks in a test file; those that are on no test of it have none."""
    tree = ast.parse(source)
    tests = {id(call): name for name, function in collected(tree) for call in function.decorator_list}
    return [
        Mark(
            f"{place}:{node.lineno}",
            tuple(_value(argument) for argument in node.args),
            tests.get(id(node), ""),
        )
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{marker}"
    ]


def collected(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Test functions of a module and of its test classes; of two with one name Python keeps the later one."""
    for prefix, body in [("", tree.body)] + [
        (f"{node.name}::", node.body)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
    ]:
        kept = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
        yield from ((prefix + name, node) for name, node in kept.items() if name.startswith("test_"))


def _value(argument: ast.expr) -> object:
    return argument.value if isinstance(argument, ast.Constant) else ast.unparse(argument)


def all_marks() -> list[Mark]:
    """Those of the whole suite."""
    return [
        mark
        for path in sorted(ROOT.rglob("*.py"))
        for mark in marks_of(path.read_text(), str(path.relative_to(ROOT)))
        if path.name != "test_cases.py"
    ]


def test_every_case_is_shown_by_a_test() -> None:
    shown = {number for mark in all_marks() if mark.test for number in mark.numbers}
    assert sorted(set(CASES) - shown) == []


def test_every_mark_names_cases_and_is_on_a_test() -> None:
    lost = [
        mark
        for mark in all_marks()
        if not mark.test or not mark.numbers or not set(mark.numbers) <= set(CASES)
    ]
    assert lost == []
    files = {mark.place.split(":")[0] for mark in all_marks()}
    assert all(Path(name).name.startswith("test_") for name in files), "a file that pytest does not collect"


def test_the_numbers_have_no_gap() -> None:
    assert list(CASES) == list(range(1, 85))
    with pytest.raises(TypeError):
        CASES[85] = ""  # type: ignore[index]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("@pytest.mark.case(1, 2)\ndef test_a(): ...", [((1, 2), "test_a")]),
        ("class TestA:\n @pytest.mark.case(3)\n def test_b(self): ...", [((3,), "TestA::test_b")]),
        ("@pytest.mark.case(4)\ndef helper(): ...", [((4,), "")]),
        ("@pytest.mark.case(5)\ndef test_a(): ...\ndef test_a(): ...", [((5,), "")]),
        ("def test_a():\n @pytest.mark.case(6)\n def test_b(): ...", [((6,), "")]),
        ("@pytest.mark.case(NUMBER)\ndef test_a(): ...", [(("NUMBER",), "test_a")]),
        ("@pytest.mark.pitfall(7)\ndef test_a(): ...", []),
    ],
)  # fmt: skip
def test_marks_are_found_where_they_count(source: str, found: list[tuple[tuple[object, ...], str]]) -> None:
    assert [(mark.numbers, mark.test) for mark in marks_of(source, "x.py")] == found
