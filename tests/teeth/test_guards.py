"""The table of guards is true: each stands in the source once, and its test names the pitfall."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.marks import marks
from tests.teeth.guard_table import GUARDS, Guard

ROOT = Path(__file__).parents[2]
REMOVABLE = (*range(5, 13), 15, *range(17, 24), 30)
"""Pitfalls whose guards are in code that runs without a device, so that they can be taken out anywhere."""


@pytest.mark.parametrize("number", REMOVABLE)
def test_each_pitfall_has_a_guard(number: int) -> None:
    assert [guard for guard in GUARDS if guard.pitfall == number]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.pitfall} {guard.what}")
def test_each_guard_stands_where_it_is_said_to(guard: Guard) -> None:
    source = (ROOT / guard.path).read_text()
    assert source.count(guard.text) == 1
    assert guard.instead != guard.text
    ast.parse(source.replace(guard.text, guard.instead))


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.pitfall} {guard.what}")
def test_each_guard_has_a_test_that_names_its_pitfall(guard: Guard) -> None:
    file, _, test = guard.test.partition("::")
    file = file.removeprefix("tests/")
    assert not file.startswith("gpu")
    shown = {(mark.file, mark.test): mark.numbers for mark in marks("pitfall")}
    assert guard.pitfall in shown[file, test]


def test_guards_are_in_the_order_of_their_pitfalls() -> None:
    numbers = [guard.pitfall for guard in GUARDS]
    assert numbers == sorted(numbers)
