"""What the rows of a class say of a number and of a message.

Invariant: numbers go before codes, codes before texts, and texts before the class alone: each tells less than
the one before. Of several codes in a message the gravest counts.
"""

from __future__ import annotations

import re

from microbatch.extend.records import FailureKind
from microbatch_backends.failures.known_classes import Known
from microbatch_backends.failures.statements import Statement, unquoted

__all__ = ["fits", "of_number", "of_statement"]

WORD = re.compile(r"[a-z_]\w{6,99}")
CODES_WITHIN = 3_000
"""Characters of a message in which codes are looked for."""
GRAVEST_FIRST = (FailureKind.DEAD, FailureKind.OOM, FailureKind.SUSPECT, FailureKind.SIZE)
"""What a message with several codes means."""


def of_number(known: tuple[Known, ...], error: BaseException) -> FailureKind | None:
    """What the number of a status means that `error` holds; None where it holds none of the table."""
    for row in (row for each in known for row in each.numbered):
        number = _attribute(error, row.attribute)
        if isinstance(number, int) and number in row.numbers:
            return row.kind
    return None


def of_statement(known: tuple[Known, ...], statement: Statement) -> FailureKind | None:
    """What a message means, and where it says nothing, what the class means; None where that is nothing."""
    kinds = _of_codes(known, statement.beginnings[0][:CODES_WITHIN])
    if kinds:
        return min(kinds, key=GRAVEST_FIRST.index)
    for beginning in statement.beginnings:
        for each in known:
            for pieces, kind in each.texts if beginning.startswith(each.firsts) else ():
                if fits(pieces, beginning):
                    return kind
    return next((each.itself for each in known if each.itself is not None), None)


def _of_codes(known: tuple[Known, ...], text: str) -> list[FailureKind]:
    """What the codes in `text` mean, but for those in quotation marks."""
    if not any(word in each.coded for word in WORD.findall(text) for each in known):
        return []  # as in most messages, which are then not searched for quotation marks
    words = WORD.findall(unquoted(text))
    return [each.coded[word] for word in words for each in known if word in each.coded]


def fits(pieces: tuple[str, ...], text: str) -> bool:
    """Whether `text` begins with the first of the pieces and has the others after it, in their order.

    After the last piece the clause must end, unless that piece is empty, as of a text that ends with `*`.
    """
    if not text.startswith(pieces[0]):
        return False
    place = len(pieces[0])
    if len(pieces) == 1:
        return _clause_ends(text, place)
    for piece in pieces[1:-1]:
        if (place := text.find(piece, place)) < 0:
            return False
        place += len(piece)
    last = pieces[-1]
    while (place := text.find(last, place)) >= 0:
        place += len(last)
        if not last or _clause_ends(text, place):
            return True
    return False


def _clause_ends(text: str, place: int) -> bool:
    """Whether the words before `place` are a clause of their own: no word follows on the same line."""
    following = text[place : place + 2]
    return not following[:1].isalnum() and not (following[:1] == " " and following[1:].isalpha())


def _attribute(error: BaseException, name: str) -> object:
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - a property that raises says nothing; the text still does
        return None
