"""Every numbered case, pitfall and bad input has a test, and no test names one that does not exist."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.bad_inputs import BAD_INPUTS
from tests.cases import CASES
from tests.marks import lost, marks_of, missing
from tests.pitfalls import PITFALLS

LISTS: Mapping[str, Mapping[int, str]] = {"case": CASES, "pitfall": PITFALLS, "bad_input": BAD_INPUTS}
"""Marker to the list that its numbers are of."""


@pytest.mark.parametrize(("marker", "count"), [("case", 84), ("pitfall", 30), ("bad_input", 65)])
def test_the_numbers_have_no_gap_and_no_sentence_stands_twice(marker: str, count: int) -> None:
    texts = LISTS[marker]
    assert list(texts) == list(range(1, count + 1))
    assert len(set(texts.values())) == count
    assert all(text.endswith(".") and len(text) < 130 for text in texts.values())
    with pytest.raises(TypeError):
        texts[count + 1] = ""  # type: ignore[index]


@pytest.mark.parametrize("marker", LISTS)
def test_each_is_shown_by_a_test(marker: str) -> None:
    assert missing(marker, LISTS[marker]) == []


def test_each_pitfall_is_shown_without_a_device() -> None:
    assert missing("pitfall", PITFALLS, without="gpu") == []


@pytest.mark.parametrize("marker", LISTS)
def test_each_mark_is_on_a_test_and_names_one(marker: str) -> None:
    assert lost(marker, LISTS[marker]) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("@pytest.mark.case(1, 2)\ndef test_a(): ...", [((1, 2), "test_a")]),
        ("class TestA:\n @pytest.mark.case(3)\n def test_b(self): ...", [((3,), "TestA::test_b")]),
        ("@pytest.mark.case(3)\nclass TestA:\n def test_b(self): ...", [((3,), "TestA")]),
        ("@pytest.mark.case(4)\ndef helper(): ...", [((4,), "")]),
        ("@pytest.mark.case(4)\nclass Helper: ...", [((4,), "")]),
        ("@pytest.mark.case(5)\ndef test_a(): ...\ndef test_a(): ...", [((5,), "")]),
        ("def test_a():\n @pytest.mark.case(6)\n def test_b(): ...", [((6,), "")]),
        ("def test_a():\n x = pytest.mark.case(6)", [((6,), "")]),
        ("@pytest.mark.case(NUMBER)\ndef test_a(): ...", [(("NUMBER",), "test_a")]),
        ("@p('x', [pytest.param(1, marks=pytest.mark.case(8))])\ndef test_a(x): ...", [((8,), "test_a")]),
        ("ROWS = [pytest.param(1, marks=pytest.mark.case(8))]", [((8,), "")]),
        ("@pytest.mark.pitfall(7)\ndef test_a(): ...", []),
    ],
)  # fmt: skip
def test_marks_are_found_where_they_count(source: str, found: list[tuple[tuple[object, ...], str]]) -> None:
    assert [(mark.numbers, mark.test) for mark in marks_of(source, "case")] == found
