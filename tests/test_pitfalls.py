"""Every numbered pitfall has a test that runs without an accelerator, and no test names one that does not exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.pitfalls import PITFALLS

TESTS = Path(__file__).parent


def pitfalls_of(source: str) -> Iterator[tuple[str, int]]:
    """(test, number) for each `@pytest.mark.pitfall(...)` in `source`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.pitfall":
                    yield from ((node.name, ast.literal_eval(argument)) for argument in mark.args)


@cache
def marks(*, device: bool) -> tuple[tuple[str, str, int], ...]:
    """(file, test, number) of the tests in tests/gpu, or of all others."""
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        where = path.relative_to(TESTS)
        if (where.parts[0] == "gpu") == device:
            found += [(str(where), test, number) for test, number in pitfalls_of(path.read_text())]
    return tuple(found)


def test_pitfalls_are_numbered_from_1_to_30() -> None:
    assert list(PITFALLS) == list(range(1, 31))
    assert len(set(PITFALLS.values())) == 30
    assert all(text.endswith(".") and len(text) < 110 for text in PITFALLS.values())


@pytest.mark.parametrize("number", PITFALLS)
def test_each_has_a_test_that_needs_no_device(number: int) -> None:
    tests = {test for _, test, marked in marks(device=False) if marked == number}
    assert tests, f"no test outside tests/gpu is marked pitfall({number}): {PITFALLS[number]}"
    assert all(test.startswith(("test_", "Test")) for test in tests)


@pytest.mark.parametrize("device", [False, True])
def test_each_mark_names_a_pitfall(device: bool) -> None:
    wrong = [mark for mark in marks(device=device) if mark[2] not in PITFALLS]
    assert wrong == []


def test_marks_are_found_on_functions_methods_and_classes() -> None:
    source = (
        "@pytest.mark.pitfall(1, 2)\ndef test_a(): pass\n"
        "@pytest.mark.pitfall(3)\nclass TestB:\n    @pytest.mark.pitfall(4)\n    def test_c(self): pass\n"
        "@pytest.mark.case(5)\ndef test_d(): pass\n"
    )
    assert sorted(pitfalls_of(source)) == [("TestB", 3), ("test_a", 1), ("test_a", 2), ("test_c", 4)]
