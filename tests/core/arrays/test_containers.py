"""Which objects are opened, what their copies are, and where they go through a step."""

from __future__ import annotations

from collections import Counter, OrderedDict, UserDict, defaultdict
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.arrays.trees import children_of, flatten, leaf_paths, leaves_of, map_leaves, output_name

PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 3}
X = np.arange(60.0).reshape(20, 3)


@dataclass
class Plain:
    y: Any
    scale: float = 2.0
    note: str = "text"


@dataclass(frozen=True, slots=True)
class Frozen:
    y: Any
    z: Any = None


@dataclass
class Converting:
    """Its constructor changes what it is given."""

    y: Any

    def __post_init__(self) -> None:
        self.y = self.y + 1
        self.rows = len(self.y)


class Ordered(OrderedDict[str, Any]):
    pass


class Counting(defaultdict[str, Any]):
    pass


class Attributes(dict[str, Any]):
    """A dictionary whose items are its attributes."""

    def __init__(self, **items: Any) -> None:
        super().__init__(**items)
        self.__dict__ = self


class Named(UserDict[str, Any]):
    """As encodings are: data and something beside it."""

    def __init__(self, data: Any, beside: Any = None) -> None:
        super().__init__(data)
        self.beside = beside


class Both(OrderedDict[str, Any]):
    """As outputs of models are: items that are attributes too."""

    def __init__(self, **items: Any) -> None:
        super().__init__(**items)
        for name, value in items.items():
            setattr(self, name, value)


MAKES: dict[str, Any] = {
    "dataclass": lambda y: Plain(y),
    "frozen, slots": lambda y: Frozen(y, {"more": [y]}),
    "UserDict": lambda y: UserDict(y=y),
    "UserDict with more": lambda y: Named({"y": y}, [y]),
    "OrderedDict": lambda y: Ordered(z=y, y=y * 2),
    "defaultdict": lambda y: Counting(list, y=y),
    "Counter": lambda y: Counter(y=y),
    "attribute dictionary": lambda y: Attributes(y=y, n=3),
    "items and attributes": lambda y: Both(y=y, n=3),
    "proxy": lambda y: MappingProxyType({"y": y}),
}


def same(first: Any, second: Any) -> None:
    """Both are of one type, and all that they hold is equal."""
    assert type(first) is type(second)
    if isinstance(first, np.ndarray):
        np.testing.assert_array_equal(first, second)
        return
    inner = children_of(first)
    if inner is None:
        assert first == second
        return
    others = children_of(second)
    assert others is not None and [key for key, _ in inner] == [key for key, _ in others]
    for (_, one), (_, other) in zip(inner, others, strict=True):
        same(one, other)


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_in_parts_it_is_what_the_plain_call_gives(make: Any) -> None:
    """As an output, as an input, and through memory that ran out."""
    with microbatch.wrap(make, **PARTS) as wrapped:
        same(wrapped(X), make(X))
        assert wrapped.last_report is not None and wrapped.last_report.sizes == (7, 7, 6)
    with microbatch.wrap(lambda given: leaves_of(given)[0] * 2, **PARTS) as wrapped:
        same(wrapped(make(X)), leaves_of(make(X))[0] * 2)

    def narrow(x: Any) -> Any:
        if len(x) > 8:
            raise MemoryError("too many rows")
        return make(x)

    with microbatch.wrap(narrow) as wrapped:
        same(wrapped(X), make(X))
        assert wrapped.last_report is not None and wrapped.last_report.oom_sizes


def test_attrs_are_opened() -> None:
    attrs = pytest.importorskip("attrs")
    kind = attrs.make_class("Made", ["y", "note"], frozen=True, slots=True)
    with microbatch.wrap(lambda x: kind(x * 2, "n"), **PARTS) as wrapped:
        result = wrapped(X)
    assert type(result) is kind and result.note == "n"
    np.testing.assert_array_equal(result.y, X * 2)


def test_no_code_of_the_class_runs_again() -> None:
    """What its constructor has made of its arguments is what is copied: here it adds 1, once."""
    given = Converting(X)
    copy = map_leaves(lambda leaf: leaf, given)
    np.testing.assert_array_equal(copy.y, X + 1)
    assert copy.rows == 20
    with microbatch.wrap(lambda given: given.y / given.rows, **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(given), (X + 1) / 20)


def test_a_number_of_rows_that_an_output_notes_keeps_it_whole() -> None:
    with microbatch.wrap(lambda x: Converting(x)) as wrapped:
        result = wrapped(X)
    assert result.rows == 20
    with (
        microbatch.wrap(lambda x: Converting(x), **PARTS) as wrapped,
        pytest.raises(microbatch.errors.UnprovenError, match=r"output\['rows'\]"),
    ):
        wrapped(X)


def test_the_factory_of_a_dictionary_and_the_sharing_of_an_item_stay() -> None:
    with microbatch.wrap(MAKES["defaultdict"], **PARTS) as wrapped:
        assert wrapped(X).default_factory is list
    with microbatch.wrap(MAKES["items and attributes"], **PARTS) as wrapped:
        result = wrapped(X)
    assert result["y"] is result.y
    with microbatch.wrap(MAKES["attribute dictionary"], **PARTS) as wrapped:
        result = wrapped(X)
    assert result.y is result["y"] and vars(result) is result


def test_a_path_names_the_field() -> None:
    _, spec = flatten({"a": Plain(X), "b": Named({"y": X}, X * 2)})
    assert [output_name(path) for path in leaf_paths(spec)] == [
        "output['a']['y']",
        "output['a']['scale']",
        "output['a']['note']",
        "output['b']['y']",
        "output['b']['beside']",
    ]


def test_an_object_of_which_nothing_is_cut_goes_to_the_function_itself() -> None:
    """It may be known by identity, and what is left in it is there afterwards."""
    seen = []

    def function(x: Any, settings: Any) -> Any:
        seen.append(settings)
        return x * settings.scale

    settings = Plain(np.zeros(4))
    with microbatch.wrap(function, **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(X, settings), X * 2)
    assert all(each is settings for each in seen)


def test_objects_that_contain_themselves_are_leaves() -> None:
    node = Plain(X)
    node.y = node
    leaves, _ = flatten({"node": node, "x": X})
    assert leaves[0] is node and leaves[1] is X


def test_a_container_of_leaves_of_all_kinds_is_opened_once_for_all() -> None:
    """Everything that opens a tree sees the same leaves, whichever asks first."""

    @dataclass
    class Local:
        y: Any

    assert [key for key, _ in children_of(Local(1)) or ()] == ["y"]
    assert leaves_of([Local(1), Local(2)]) == [1, 2]


def test_a_type_that_nobody_knows_is_refused_with_what_to_do() -> None:
    """At any number of rows, in a sentence that names the argument, its type and the way out."""

    class Unknown:
        def __init__(self, rows: int) -> None:
            self.inside = np.zeros((rows, 2))

    for rows in (2, 3, 1000):
        with (
            microbatch.wrap(lambda x, hidden: x) as wrapped,
            pytest.raises(microbatch.errors.LayoutError, match=r"hidden\.inside .* a Unknown is not known"),
        ):
            wrapped(np.zeros(rows), Unknown(rows))
    with (
        microbatch.wrap(lambda hidden: hidden) as wrapped,
        pytest.raises(microbatch.errors.LayoutError, match=r"hidden is a .*Unknown.*_register_rows"),
    ):
        wrapped(Unknown(5))
