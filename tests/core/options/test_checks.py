"""The one checker of whole numbers, and how values look in messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError, ArgumentValueError, SliceError
from microbatch.options.checks import as_whole, count, position, seconds, whole
from microbatch.options.messages import given as shown_with_type
from microbatch.options.messages import shorten, shown


class TrueTensor:
    """What torch makes of True: it counts as 1."""

    dtype = "torch.bool"

    def __index__(self) -> int:
        return 1

    def __float__(self) -> float:
        return 1.0

    def __repr__(self) -> str:
        return "tensor(True)"


SWITCHES = [True, False, np.True_, np.array(True), np.array([True]), TrueTensor()]
NO_NUMBERS = [
    *SWITCHES,
    2.0,
    np.float32(2),
    "2",
    b"2",
    None,
    [2],
    np.arange(2),
    pytest.param(object(), id="object"),
]


@given(st.integers(-(2**62), 2**62))
def test_whole_numbers_of_every_kind_are_plain_ints(number: int) -> None:
    for value in (number, np.int64(number), np.array(number)):
        assert as_whole(value) == whole("n", value) == number
        assert type(as_whole(value)) is int
    assert type(as_whole(np.uint8(3))) is int


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_whole_number_is_none_or_refused_by_name(value: Any) -> None:
    assert as_whole(value) is None
    for check in (whole, position, count):
        with pytest.raises(ArgumentTypeError, match="^length is .*; give a whole number$"):
            check("length", value)


@pytest.mark.parametrize("value", SWITCHES, ids=repr)
def test_a_switch_is_no_number_of_seconds(value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="^limit is .*; give a positive number of seconds, or None$"):
        seconds("limit", value)


@given(st.integers(-5, 5))
def test_each_check_has_its_own_lowest_number(number: int) -> None:
    assert whole("n", number) == number
    if number >= 0:
        assert position("n", number) == number
    else:
        with pytest.raises(SliceError, match=f"n is {number}; negative positions are not accepted"):
            position("n", number)
    if number >= 1:
        assert count("n", number) == number
    else:
        with pytest.raises(ArgumentValueError, match=f"n is {number}; it must be from 1 to"):
            count("n", number)


@given(st.text(), st.integers(4, 100))
def test_a_shortened_text_is_short_and_begins_as_it_did(text: str, longest: int) -> None:
    short = shorten(text, longest)
    assert len(short) <= longest
    assert short == text or (len(text) > longest and text.startswith(short.removesuffix("...")))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None (NoneType)"),
        (True, "True (bool)"),
        (4, "4 (int)"),
        (np.int64(4), "4 (int64)"),
        ("4", "'4' (str)"),
        (float("nan"), "nan (float)"),
        ([4], "of type list"),
        (np.arange(3), "of type ndarray"),
    ],
    ids=repr,
)
def test_a_value_in_a_message(value: Any, text: str) -> None:
    assert shown_with_type(value) == text


def test_long_values_do_not_fill_a_message() -> None:
    assert len(shown_with_type("x" * 10_000)) < 100
    assert len(shown_with_type(10**1000)) < 100
    assert shown(list(range(10_000))).endswith("...") and len(shown(list(range(10_000)))) == 80
