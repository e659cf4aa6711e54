"""The tools that take things out name files, tests and changes that exist. They are not run here."""

from __future__ import annotations

import json

import pytest

from tests.teeth.damaged_copies import ROOT, spread
from tests.teeth.equivalents import EQUIVALENT
from tests.teeth.mutants import mutants_of
from tests.teeth.mutations import PLACES, operations
from tests.teeth.statements import ORDER, TESTS

PACKAGE = ROOT / "core/microbatch"


def test_every_file_of_the_hand_off_has_tests_that_exist() -> None:
    assert [path for path in TESTS if not (PACKAGE / path).exists()] == []
    assert [test for tests in TESTS.values() for test in tests if not (ROOT / test).exists()] == []


def test_what_is_remembered_is_of_these_files() -> None:
    assert set(json.loads(ORDER.read_text())) <= set(TESTS)
    assert set(EQUIVALENT) <= set(TESTS)


@pytest.mark.parametrize("path", EQUIVALENT)
def test_what_is_called_equivalent_is_a_change_of_that_file(path: str) -> None:
    names = {mutant.name for mutant in mutants_of((PACKAGE / path).read_text())}
    assert set(EQUIVALENT[path]) - names == set()


def test_every_place_that_orders_device_work_has_an_operation() -> None:
    found = {operation.module.removeprefix("microbatch/") for operation in operations()}
    assert {place for place in PLACES if "*" not in place} <= found
    assert "schedules/streamed.py" in found


@pytest.mark.parametrize(
    ("at_most", "expected"), [(None, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4]), (2, [0, 2]), (0, [])]
)
def test_a_sample_is_spread_evenly(at_most: int | None, expected: list[int]) -> None:
    assert spread(range(5), at_most) == expected
