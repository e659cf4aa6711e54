"""Every text of a real library is told right, every row of the table has one, and each has a source."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.classify import classify
from microbatch_backends.failures.family import Family
from microbatch_backends.failures.known_classes import BY_CLASS, Known, carries, known_as
from microbatch_backends.failures.statements import message_of, statements_in
from microbatch_backends.failures.table import FAMILIES
from microbatch_backends.failures.verdicts import fits
from tests.backends.failures.real_text import RealText
from tests.backends.failures.real_texts import TEXTS

SHARED = {"RuntimeError", "ValueError", "OverflowError", "OSError", "MemoryError"}
"""Classes that other people's code raises, too."""

SOURCE = re.compile(
    r"[\w.-]+/[\w.-]+(#\d+| .+)|seen, .*\d|the .+ (of|documentation|specification)|a function's own"
)
"""A report, a path in a repository, what was provoked with which version, a document, or no library."""


@pytest.mark.case(67)
@pytest.mark.parametrize("real", TEXTS, ids=[f"{n}-{real.kind.value}" for n, real in enumerate(TEXTS)])
def test_a_real_text_is_told_right(real: RealText) -> None:
    """The verdict is the one that the corpus gives, with the source it was found in."""
    assert classify(real.made()) is real.kind, (real.raised, real.text, real.source)


def test_the_corpus_has_both_sides_and_each_text_once() -> None:
    """Well over a hundred texts are of failures to retry, at least forty are not, and none is there twice."""
    counted = Counter(real.kind for real in TEXTS)
    assert sum(counted.values()) - counted[FailureKind.OTHER] > 300
    assert counted[FailureKind.OTHER] > 100
    assert [each for each, times in Counter((r.raised, r.text) for r in TEXTS).items() if times > 1] == []


def reached_by(row: Family) -> tuple[set[str], set[str], set[int]]:
    """Texts, codes and numbers of `row` that some text of the corpus with its meaning has."""
    alike = [real.made() for real in TEXTS if real.kind is row.kind]
    said = [
        beginning
        for error in alike
        for statement in statements_in(message_of(error), carries)
        for beginning in statement.beginnings
    ]
    words = {word for text in said for word in re.findall(r"\w+", text)}
    numbers = {getattr(error, row.attribute, None) for error in alike} if row.attribute else set()
    return (
        {t for t in row.texts if any(fits(tuple(t.lower().split("*")), text) for text in said)},
        {code for code in row.codes if code.lower() in words},
        {number for number in row.numbers if number in numbers},
    )


@pytest.mark.parametrize("row", FAMILIES, ids=[f"{n}-{row.library}"[:60] for n, row in enumerate(FAMILIES)])
def test_every_row_has_its_texts_in_the_corpus(row: Family) -> None:
    """No text and no code stands in the table that no text of the corpus has; of numbers one is enough."""
    texts, codes, numbers = reached_by(row)
    assert (texts, codes) == (set(row.texts), set(row.codes))
    assert bool(numbers) == bool(row.numbers)
    if not (row.texts or row.codes or row.numbers):
        assert all(name in named_in_the_corpus() for name in row.classes)


def named_in_the_corpus() -> set[str]:
    """Classes that the corpus raises or names in a text, as `package.Class`."""
    raised = [real.raised.partition(" | ")[0].partition(" < ")[0] for real in TEXTS]
    named = [
        statement.name for real in TEXTS for statement in statements_in(message_of(real.made()), carries)
    ]
    return {re.sub(r"\..*\.", ".", name) for name in [*raised, *named]}


def test_every_row_and_text_says_where_it_was_found() -> None:
    """A source is a repository with a path or a report, a document, or `seen` with a version."""
    for source in [*(row.source for row in FAMILIES), *(real.source for real in TEXTS)]:
        assert SOURCE.match(source), source


def test_a_text_of_a_shared_class_says_how_the_message_begins() -> None:
    """Only a class of the library's own may have a text that begins with anything."""
    for row in FAMILIES:
        shared = SHARED.intersection(row.classes)
        assert not (shared and [text for text in row.texts if text.startswith("*")]), row
        assert not (shared - {"MemoryError"} and not (row.texts or row.codes or row.numbers)), row


def test_a_code_means_one_thing() -> None:
    """No code is in two rows of one class with different meanings."""
    for name in BY_CLASS:
        rows = [row for row in FAMILIES if name in row.classes]
        codes = Counter(code for row in rows for code in row.codes)
        assert [code for code, times in codes.items() if times > 1] == []


def test_a_class_is_known_by_its_package_not_by_its_name() -> None:
    """A class with the name of a library's, from another package, is not the library's."""
    own = type("OutOfMemoryError", (Exception,), {"__module__": "game.rules"})
    theirs = type("OutOfMemoryError", (Exception,), {"__module__": "torch.cuda"})
    known: tuple[Known, ...] = known_as(own)
    assert known == ()
    assert classify(own("CUDA out of memory")) is FailureKind.OTHER
    assert classify(theirs("of another version")) is FailureKind.OOM
