"""Sizes as text: exact both ways, and nothing ambiguous."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentValueError
from microbatch.options.byte_sizes import format_bytes, parse_bytes

UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
sizes = st.integers(1, 2**63) | st.builds(
    lambda number, unit: number * unit, st.integers(1, 4096), st.sampled_from(sorted(UNITS.values()))
)


@given(sizes)
def test_formatting_and_parsing_are_inverse(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == size


@given(st.integers(1, 10**6), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]), st.booleans())
def test_a_number_times_its_unit(number: int, unit: str, gap: str, lower: bool) -> None:
    text = f" {number}{gap}{unit} "
    assert parse_bytes(text.lower() if lower else text) == number * UNITS[unit]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GiB", 2**31),
        ("500MB", 500_000_000),
        ("1.5 KiB", 1536),
        ("1_000", 1000),
        ("0.5kB", 500),
        ("1.0005kB", 1000),
    ],
)
def test_texts_of_the_documentation(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GiB",
        "-1",
        "-1GiB",
        "nan",
        "inf",
        "1e9",
        "2 XB",
        "2GiBs",
        "1,5GB",
        "0",
        "0.1",
        "²GiB",
        "٣GB",
        "9" * 99,
        "1.2.3",
    ],
)
def test_other_texts_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ArgumentValueError, match="write|use|give") as caught:
        parse_bytes(text)
    assert repr(text)[:40] in str(caught.value)


@pytest.mark.parametrize("unit", "kmgtKMGT")
def test_a_bare_letter_is_refused_as_it_means_two_things(unit: str) -> None:
    with pytest.raises(ArgumentValueError, match=f"write {unit}iB or {unit}B"):
        parse_bytes(f"2{unit}")
