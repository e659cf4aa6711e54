"""From the bytes of a history file to its rows, and back.

Invariant: SQLite only ever sees a copy in memory, so nothing that a file holds can make it touch another
file: no journal beside it is played back (that of an attacker may name any file for deletion), nothing is
attached, nothing is locked. Before a row is read, all of this holds: the header has our application id and
version, the schema is exactly ours (no view, trigger, virtual table, index or generated column more), and
`quick_check` finds no damage. Each query ends with the time that there is.

Rejected: opening the path with SQLite, read-only or not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection

    from microbatch.sizing.deadline import Deadline

SCHEMA = 3
"""Number of the file format; another one is not read."""
APPLICATION = int.from_bytes(b"mbat")
"""SQLite's field for whose database it is."""
LARGEST = 8 << 20
"""Bytes of a file, which take 0.1 s to check; what is written has at most about half of it."""
MOST_ENTRIES = 1000
"""Entries that are written; the ones not written for longest go first."""
MOST_TEXT = 2 << 20
"""Characters that are written in all, likewise."""
MOST_READ = 4 * MOST_ENTRIES
"""Entries of a file that is still read."""
LONGEST_VALUE = 2 << 20
"""Bytes of one row."""
OPCODES = 1000
"""SQLite asks for the time after so many instructions, which take about 20 us."""
PAGE = 4096
"""Bytes of a page."""
HEADER = 105
"""Bytes of the header, and of what says how much there is in the schema."""
_MAGIC = b"SQLite format 3\0"
_TABLE = (
    "CREATE TABLE learned (key text primary key, fields text not null, state text not null, "
    "changed text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now')))"
)
_TABLES = {
    ("table", "learned", "learned", _TABLE),
    ("index", "sqlite_autoindex_learned_1", "learned", None),
}
_FORM = {
    16: PAGE.to_bytes(2),
    18: b"\1\1",  # no log in a file of its own
    56: (1).to_bytes(4),  # UTF-8
    100: b"\r",  # the schema is one page
    103: len(_TABLES).to_bytes(2),
}
"""What is at which place of the header of every history."""


class UnusableError(Exception):
    """The file is no history, or cannot be used; the text says why."""


class BusyError(UnusableError):
    """It cannot be used now."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry, as text."""

    fields: str
    """The fields of its key, as JSON."""
    state: str
    """What was learned, as JSON."""
    changed: str | None = None
    """Time of the last write in UTC, None for now."""


Rows = Mapping[str, Row]
"""Key, as text, to its entry."""


def check_header(header: bytes) -> None:
    """Raise UnusableError where a file that begins so is no history of this version.

    A schema of more than our two entries is refused here: SQLite reads a schema without asking for the time.
    """
    if header[:16] != _MAGIC:
        raise UnusableError("file is not a database")
    application, version = (int.from_bytes(header[at : at + 4]) for at in (68, 60))
    if application != APPLICATION:
        raise UnusableError("it is a database, but no history of microbatch")
    if version != SCHEMA:
        raise UnusableError(f"its format has the number {version}, this version has {SCHEMA}")
    if any(header[at : at + len(value)] != value for at, value in _FORM.items()):
        raise UnusableError("it is a database with another content than a history has")


def rows_in(data: bytes, deadline: Deadline) -> dict[str, Row]:
    """All entries of a file with these bytes; raises UnusableError."""
    check_header(data)
    with _memory(deadline) as connection:
        connection.deserialize(data)
        _restrict(connection)
        if set(connection.execute("select type, name, tbl_name, sql from sqlite_master")) != _TABLES:
            raise UnusableError("it is a database with another content than a history has")
        if connection.execute("pragma quick_check(1)").fetchone() != ("ok",):
            raise UnusableError("it is damaged")
        query = f"select key, fields, state, changed from learned not indexed limit {MOST_READ + 1}"
        found = connection.execute(query).fetchall()
    if len(found) > MOST_READ or not all(type(value) is str for row in found for value in row):
        raise UnusableError("it is damaged: it holds what no history does")
    return {key: Row(*row) for key, *row in found}


def bytes_of(rows: Rows, deadline: Deadline) -> bytes:
    """A file with the newest of these entries; raises UnusableError where the time does not suffice."""
    with _memory(deadline) as connection:
        connection.execute(f"pragma page_size = {PAGE}")
        connection.execute(f"pragma application_id = {APPLICATION}")
        connection.execute(f"pragma user_version = {SCHEMA}")
        connection.execute(_TABLE)
        connection.execute("begin")
        for key, row in _newest(rows):
            connection.execute(
                "insert into learned values (?, ?, ?, coalesce(?, strftime('%Y-%m-%d %H:%M:%f', 'now')))",
                (key, row.fields, row.state, row.changed),
            )
        connection.execute("commit")
        return connection.serialize()


def _newest(rows: Rows) -> Iterator[tuple[str, Row]]:
    """As many as may be kept."""
    left = MOST_TEXT
    ordered = sorted(rows.items(), key=lambda entry: _age(entry[1]), reverse=True)
    for key, row in ordered[:MOST_ENTRIES]:
        left -= len(key) + len(row.fields) + len(row.state)
        if left < 0:
            return
        yield key, row


def _age(row: Row) -> tuple[bool, str]:
    """Sorts the entries of now last, whatever the others say of themselves."""
    return row.changed is None, row.changed or ""


@contextlib.contextmanager
def _memory(deadline: Deadline) -> Iterator[Connection]:
    """A database in memory. What goes wrong with it, of whatever kind, is an UnusableError."""
    import sqlite3

    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.set_progress_handler(deadline.passed, OPCODES)
        yield connection
    except (sqlite3.Error, sqlite3.Warning, MemoryError, ValueError, OverflowError) as error:
        ended = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
        if ended and not deadline.passed():  # Ctrl-C came while the time was looked at; sqlite3 drops it
            raise KeyboardInterrupt from None
        if deadline.passed():
            raise BusyError(f"it takes longer than {deadline.seconds} s") from None
        raise UnusableError(f"it is damaged: {error}") from None
    finally:
        connection.close()


def _restrict(connection: Connection) -> None:
    """Have SQLite trust nothing of what it is about to read."""
    import sqlite3

    limits: dict[int, int] = {
        sqlite3.SQLITE_LIMIT_LENGTH: LONGEST_VALUE,
        sqlite3.SQLITE_LIMIT_SQL_LENGTH: 10_000,
        sqlite3.SQLITE_LIMIT_COLUMN: 8,
        sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 16,
        sqlite3.SQLITE_LIMIT_ATTACHED: 0,
        sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
        sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
    }
    for category, most in limits.items():
        connection.setlimit(category, most)
    for setting in ("trusted_schema = off", "cell_size_check = on", "query_only = on"):
        connection.execute(f"pragma {setting}")
