"""Lists and other sized things beside the batch: one entry a row, or one for all."""

from __future__ import annotations

import array
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from microbatch import Layout, tokens
from tests.core.proof.pair import Generator, Maker, Pair, Sizes, always, floats, ids, mixing, row_wise, words

DECLARED = Layout(inputs={"0": tokens()}, outputs={"output": tokens()})
INPUTS = Layout(inputs={"0": tokens()})


def numbers(kind: Callable[[Any], Any]) -> Maker:
    """A number for each row, in a container of `kind`."""
    return lambda sizes, rng: kind(rng.normal(size=sizes.rows).tolist())


def texts(kind: Callable[[Any], Any]) -> Maker:
    """A text for each row, in a container of `kind`."""
    return lambda sizes, rng: kind(words(sizes, rng))


def counted(sizes: Sizes, rng: Generator) -> Any:
    """The numbers of the rows, from a drawn one on."""
    start = int(rng.integers(99))
    return range(start, start + sizes.rows)


def ragged(sizes: Sizes, rng: Generator) -> Any:
    """A list of lists of unequal length, one a row."""
    return [rng.normal(size=length).tolist() for length in rng.integers(1, 5, sizes.rows)]


def vocabulary(sizes: Sizes, rng: Generator) -> list[str]:
    """A name for each column."""
    return [f"word {number}" for number in rng.integers(0, 999, sizes.columns)]


def zipped(a: Any, captions: Any) -> list[str]:
    """A text for each row, of its caption and its largest value."""
    return [f"{caption}: {value:.3f}" for caption, value in zip(captions, a.max(1))]


def added(a: Any, entries: Any) -> Any:
    """As many entries as there are rows are added to them, and others are passed over."""
    return a + np.array([float(entry) for entry, _ in zip(entries, a)])[:, None]


def looked_up(a: Any, entries: Any) -> list[Any]:
    """The entry at the best column of each row."""
    return [entries[place] for place in a.argmax(1).tolist()]


def lengths(a: Any, entries: Any) -> Any:
    """The length of each row's entry is added."""
    return a + np.array([len(entry) for entry, _ in zip(entries, a)])[:, None]


LISTS: tuple[Pair, ...] = (
    row_wise("captions in a list", zipped, floats, words),
    row_wise("captions by name", lambda a, *, captions: zipped(a, captions), keywords={"captions": words}),
    row_wise("captions in a dict", lambda d: zipped(d["x"], d["text"]), lambda s,
             rng: {"x": floats(s, rng), "text": words(s, rng)}),
    row_wise("captions in a tuple", zipped, floats, texts(tuple)),
    row_wise("captions in a deque", zipped, floats, texts(deque)),
    row_wise("captions first", lambda captions, a: zipped(a, captions), words, floats),
    row_wise("numbers in a list", added, floats, numbers(list)),
    row_wise("numbers in a tuple", added, floats, numbers(tuple)),
    row_wise("numbers in a deque", added, floats, numbers(deque)),
    row_wise("numbers in a range", added, floats, counted),
    row_wise("booleans in a list", added, floats, numbers(lambda some: [one > 0 for one in some])),
    row_wise("numbers of NumPy in a list", added, floats, numbers(lambda some: list(np.array(some)))),
    row_wise("texts whose lengths count", lengths, floats, texts(lambda some: [one * 2 for one in some])),
    row_wise("a list of lists", lengths, floats, ragged),
    row_wise("a list of seven", lambda a, seven: a * sum(seven), floats, always([1, 2, 3, 4, 5, 6, 7])),
    row_wise("an empty list", lambda a, none: a * (1 + len(none)), floats, always([])),
    row_wise("a list of words for columns", looked_up, floats, vocabulary),
    row_wise("columns by a list", lambda a, which: a[:, which], floats, always([0, 3, 2])),
    row_wise("a text", lambda a, text: a * len(text), floats, always("five!")),
    row_wise("a dict of numbers, by row's id", lambda i, d: np.array([d[one] for one in i.tolist()]), ids(11),
             always({number: number / 7 for number in range(11)})),
    row_wise("a list of texts alone, declared", lambda some: [one.upper() for one in some], words,
             layout=DECLARED),
    row_wise("lengths of texts, declared", lambda some: np.array([len(one) for one in some]), words,
             layout=INPUTS),
    row_wise("texts declared and rows", lambda some, a: zipped(a, some), words, floats, layout=INPUTS),
    mixing("a list of texts alone", lambda some: [one.upper() for one in some], words),
    mixing("a list of numbers alone", lambda some: [one + 1 for one in some], numbers(list)),
    mixing("places in a declared list", lambda some: [f"{at} {one}" for at, one in enumerate(some)], words,
           layout=INPUTS),
    mixing("a sorted list, declared", sorted, words, layout=INPUTS),
    mixing("the length of a list, declared", len, words, layout=INPUTS),
    mixing("sorted captions", lambda a, some: zipped(a, sorted(some)), floats, words),
    mixing("captions, the last first", lambda a, some: zipped(a, some[::-1]), floats, words),
    mixing("whether it is the first caption", lambda a,
           some: a * np.array([[one == some[0]] for one in some]), floats,
           texts(lambda some: [one[-1] for one in some])),
    mixing("the number of captions", lambda a, some: a / len(some), floats, words),
    mixing("all captions in one text", lambda a, some: (a * 2, " ".join(some)), floats, words),
    mixing("a list of words as many as rows", looked_up, floats, vocabulary, small=Sizes(24, 24),
           large=Sizes(512, 512)),
    mixing("a text as long as the batch", added, floats, lambda s,
           rng: "".join(map(str, rng.integers(0, 9, s.rows)))),
    mixing("bytes as many as rows", added, floats, lambda s, rng: rng.integers(0, 9, s.rows, "u1").tobytes()),
    mixing("a bytearray", added, floats, lambda s,
           rng: bytearray(rng.integers(0, 9, s.rows, "u1").tobytes())),
    mixing("an array of the standard library", added, floats, numbers(lambda some: array.array("d", some))),
    mixing("a memoryview", added, floats, numbers(lambda some: memoryview(np.array(some)))),
    mixing("an iterator", added, floats, numbers(iter)),
    mixing("a generator", added, floats, numbers(lambda some: (one for one in some))),
    mixing("a set", lambda i, some: np.isin(i, list(some)), ids(40), lambda s, rng: set(range(s.rows))),
    mixing("a dict with a key for each row", lambda a, d: a + np.array(list(d.values())[: len(a)])[:, None],
           floats, numbers(lambda some: dict(enumerate(some)))),
    mixing("a list of arrays, one a row", lambda a, some: a + np.stack(some[: len(a)]), floats, lambda s,
           rng: list(floats(s, rng))),
    mixing("a list of dicts, one a row", lambda a, some: added(a, [one["n"] for one in some]), floats,
           numbers(lambda some: [{"n": one} for one in some])),
    mixing("a list of pairs, one a row", lambda a, some: added(a, [one[1] for one in some]), floats,
           numbers(lambda some: [(0, one) for one in some])),
    mixing("a list of objects, one a row", lambda a, some: added(a, [one.real for one in some]), floats,
           numbers(lambda some: [complex(one) for one in some])),
    mixing("a list in a list", lambda a, some: added(a, some[0]), floats, numbers(lambda some: [some])),
    mixing("places of equal captions", lambda a, some: a + np.array([[some.index(one)] for one in some]),
           floats, texts(lambda some: [one[-1] for one in some])),
)  # fmt: skip
