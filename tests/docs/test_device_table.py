"""The table in `docs/testing.md` of tests that need a real device is the one that the tests go by."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.gpu.needs_a_device import NEEDS_A_DEVICE, reason

ROOT = Path(__file__).parents[2]


def test_the_table_is_complete() -> None:
    """Each entry is a line, and no line is more."""
    text = (ROOT / "docs/testing.md").read_text()
    table = text.partition("| test in `tests/gpu` |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == [f"| `{test}` | {why} |" for test, why in NEEDS_A_DEVICE.items()]


@pytest.mark.parametrize("entry", NEEDS_A_DEVICE)
def test_each_entry_is_a_test(entry: str) -> None:
    """A name that no test has would skip nothing, and say something else."""
    file, _, name = entry.partition("::")
    source = ast.parse((ROOT / "tests/gpu" / file).read_text())
    names = {node.name for node in source.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    assert not name or name in names


def test_a_test_is_found_by_its_class_file_or_name() -> None:
    """With or without parameters, and no other."""
    table = {"test_a.py::TestOne": "why", "test_b.py": "why"}
    assert reason("tests/gpu/test_a.py::TestOne::test_copies[1]", table)
    assert reason("tests/gpu/test_b.py::test_x", table)
    assert not reason("tests/gpu/test_a.py::TestOneToo::test_copies", table)
