"""Rows inside an object that nobody knows how to cut are found and named, without running its code."""

from __future__ import annotations

from collections import UserDict, deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from microbatch.arrays.hidden_rows import hidden_rows

ROWS = frozenset({9})


class Slots:
    __slots__ = ("unset", "y")

    def __init__(self, y: Any) -> None:
        self.y = y


@dataclass
class Fields:
    y: Any
    other: int = 3
    empty: list[int] = field(default_factory=list)


class Lazy:
    """Its property must not be run."""

    @property
    def y(self) -> Any:
        raise AssertionError("a property was run")


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Slots(np.ones(9)), ".y"),
        (SimpleNamespace(y=np.ones((9, 2))), ".y"),
        (Fields(list(range(9))), ".y"),
        (UserDict(k=[np.ones(9)]), "['k'][0]"),
        (SimpleNamespace(a=SimpleNamespace(b=Slots(deque(range(9))))), ".a.b.y"),
        (bytearray(9), ""),
        ({"a", "b", *"cdefghi"}, ""),
    ],
)
def test_what_is_found_is_named(value: Any, path: str) -> None:
    assert hidden_rows(value, ROWS) == path


@pytest.mark.parametrize(
    "value",
    [
        Slots(np.ones(8)),
        SimpleNamespace(text="nine char", kernel=(3, 3)),
        Lazy(),
        np.random.default_rng(0),
        len,
        Fields,
        np,
        SimpleNamespace(a=SimpleNamespace(b=SimpleNamespace(c=SimpleNamespace(d=np.ones(9))))),
    ],
)
def test_other_sizes_texts_functions_and_what_lies_deeper_are_no_rows(value: Any) -> None:
    assert hidden_rows(value, ROWS) is None


def test_short_sequences_are_settings_and_arrays_are_not() -> None:
    assert hidden_rows(SimpleNamespace(stride=(1, 2, 1)), frozenset({3})) is None
    assert hidden_rows(SimpleNamespace(y=np.ones(3)), frozenset({3})) == ".y"


def test_an_object_that_holds_itself_ends() -> None:
    loop = SimpleNamespace()
    loop.self = loop
    assert hidden_rows(loop, ROWS) is None
