"""Which types have rows and are no arrays, and what counts, takes and joins these rows.

Invariant: a type has rows everywhere or nowhere in the process, as a container is opened everywhere or
nowhere (optree's registry); so there is one book of them. A class is looked up once. Rejected: asking each
leaf what it can do, since a table, a mapping and an array answer to the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from microbatch.arrays.announced import Announcement, announced_for, with_these
from microbatch.arrays.row_lists import LIST_ROWS, ROW_LISTS
from microbatch.errors import ArgumentTypeError
from microbatch.extend.protocols import Rows

MakeRows = Callable[[], Rows]
"""Loads the `Rows` of a type; never raises: where it cannot be loaded, they say why they are unsupported."""
MOST = 1024
"""Classes that are remembered. A program has a few dozen; ever new ones must not fill the memory."""


class RowTypes:
    """The types that are known to have rows. Usable from several threads: each step is one of a dictionary's
    own."""

    __slots__ = ("_announced", "_known")

    def __init__(self) -> None:
        self._announced: tuple[Announcement[MakeRows], ...] = ()
        self._known: dict[type, Rows | None] = dict.fromkeys(ROW_LISTS, LIST_ROWS)

    def of(self, leaf: object) -> Rows | None:
        """What counts, takes and joins the rows of `leaf`; None where it is no such type."""
        kind = type(leaf)
        try:
            return self._known[kind]
        except KeyError:
            return self._find(kind)

    def announce(self, announced: Iterable[Announcement[MakeRows]]) -> None:
        """Know these types, too, from the first of them that is met; may be repeated."""
        now = with_these(self._announced, announced)
        if now is not self._announced:
            self._announced = now
            self._known = dict.fromkeys(ROW_LISTS, LIST_ROWS)

    def _find(self, kind: type) -> Rows | None:
        make = announced_for(kind, self._announced)
        if len(self._known) >= MOST:
            self._known = dict.fromkeys(ROW_LISTS, LIST_ROWS)
        return self._known.setdefault(kind, None if make is None else make())


ROWS = RowTypes()
"""Made while this module is imported, which happens once."""


rows_of = ROWS.of
"""rows_of(leaf): what counts, takes and joins the rows of a leaf that is no array; None where it has none."""


def has_rows(leaf: object) -> bool:
    """Whether `leaf` is no array and may have an entry per row: a list, a table, a sparse matrix."""
    return ROWS.of(leaf) is not None


class Unloadable:
    """Stands for the rows of a type that cannot be cut here, and says why."""

    __slots__ = ("_reason",)

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def unsupported(self, rows: Any) -> str:
        """The reason."""
        return self._reason

    def length(self, rows: Any) -> int:
        """Entries, where it tells them."""
        try:
            return len(rows)
        except TypeError:
            return 0

    def alike(self, rows: Any) -> str:
        """The reason, which is all that is known."""
        return self._reason

    def nbytes(self, rows: Any) -> int:
        """Unknown."""
        return 0

    def take(self, rows: Any, where: Any) -> Any:
        """Never asked: what is unsupported is refused before."""
        raise ArgumentTypeError(self._reason)

    def join(self, parts: Sequence[Any], order: Any = None) -> Any:
        """As `take`."""
        raise ArgumentTypeError(self._reason)

    def read(self, rows: Any) -> Mapping[str, Any]:
        """As `take`."""
        raise ArgumentTypeError(self._reason)
