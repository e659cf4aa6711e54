"""Histories that somebody has damaged or put something else in the place of, drawn.

Invariant: a `Damage` is plain data, so a failing test shows it and a soak campaign may draw thousands. It is
done to a copy, in a folder of its own, inside `applied`; `everything_in` that folder says whether anything
was changed by whom it was given to.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from tests.support.damaged_state import DAMAGES, damaged

ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select '' || i, '', '', '' from n"
"""A query that never ends."""
COUNTED = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)"
"""Many rows."""
A_VIEW = "'CREATE VIEW v' || i || ' AS SELECT 1'"
WRITES = "update victims set name = 'written'; insert into victims values ('more')"
"""What a trigger may do."""
FOREIGN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "another program's": ("create table notes (text)", "insert into notes values ('precious')"),
        "same name, other columns": ("create table learned (id integer, key text)",),
        "same columns, other types": ("create table learned (key blob, fields int, state real, changed)",),
        "an endless view": (f"create view learned (key, fields, state, changed) as {ENDLESS}",),
        "a view of a table": (
            "create table t (key, fields, state, changed)",
            "create view learned as select * from t",
        ),
        "a writing view": (
            "create table victims (name)",
            "create view learned as select '' key, '' fields, '' state, '' changed",
            f"create trigger t instead of insert on learned begin {WRITES}; end",
        ),
        "a generated column": (
            "create table learned (key text primary key, fields text, state as (hex(key)), changed text)",
        ),
        "a virtual table": ("create virtual table learned using fts5 (key, fields, state, changed)",),
        "without rowid": (
            "create table learned (key text primary key, fields text, state, changed) without rowid",
        ),
        "a check that never ends": (
            "create table learned (key text, fields, state, changed, check (key like '%a%a%a%a%a%a%a%a%a%'))",
        ),
        "no table": (),
        "very many views": (
            "pragma writable_schema = on",
            f"{COUNTED} insert into sqlite_master select 'view', 'v' || i, 'v', 0, {A_VIEW} from n",
        ),
    }
)
"""Databases that are no history, as statements."""
ADDED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "a table": ("create table victims (name)",),
        "a trigger": (
            "create table victims (name)",
            f"create trigger t after insert on learned begin {WRITES}; end",
        ),
        "a trigger before": (
            "create trigger t before update on learned begin select raise(abort, 'no'); end",
        ),
        "an endless trigger": (
            f"create trigger t after insert on learned begin insert into learned {ENDLESS}; end",
        ),
        "a view": (f"create view other as {ENDLESS}",),
        "an index": ("create index i on learned (state)",),
        "an index of an expression": ("create index i on learned (hex(state))",),
        "a column": ("alter table learned add column more text",),
        "statistics": ("analyze",),
        "a virtual table": ("create virtual table v using fts5 (text)",),
        "a log in a file of its own": ("pragma journal_mode = wal",),
    }
)
"""What is added to a history."""
ROWS: Mapping[str, str] = MappingProxyType(
    {
        "nested lists": "'{\"a\":' || replace(hex(zeroblob(50000)), '00', '[') || '}'",
        "nested whole": (
            "replace(hex(zeroblob(100000)), '00', '[') || replace(hex(zeroblob(100000)), '00', ']')"
        ),
        "nested objects": (
            "replace(hex(zeroblob(9000)), '00', '{\"a\":') || 1 || replace(hex(zeroblob(9000)), '00', '}')"
        ),
        "a huge number": "'{\"policy\": ' || replace(hex(zeroblob(100000)), '00', '9') || '}'",
        "a long number": "'{\"version\": ' || replace(hex(zeroblob(100)), '00', '9') || '}'",
        "NaN": "'{\"policy\": NaN}'",
        "infinity": "'{\"policy\": -Infinity}'",
        "beyond floats": "'{\"policy\": 1e999}'",
        "the same key twice": '\'{"policy": "auto", "policy": 1}\'',
        "no object": "'[1, 2]'",
        "a text": "'\"auto\"'",
        "cut short": "substr(state, 1, length(state) - 3)",
        "nothing": "''",
        "bytes": "zeroblob(10)",
        "a number": "7",
        "half a character": "cast(x'7b22f0' as text)",
        "a zero byte": "cast(x'7b007d' as text)",
        "very long": "'{\"a\": \"' || hex(zeroblob(700000)) || '\"}'",
        "longer than memory allows": "'{\"a\": \"' || hex(zeroblob(4000000)) || '\"}'",
        "lone surrogate": '\'{"a": "\\ud800"}\'',
    }
)
"""What takes the place of a state, as an expression of SQL."""


OURS = ("another journal", "another log", "locked by SQLite")
"""Where the history itself is as it was: SQLite's own locks and journals do not concern who replaces it."""


@dataclass(frozen=True, slots=True)
class Damage:
    """What is done to a history."""

    kind: str
    """Which group of the above."""
    detail: Any = None
    """Which one of the group, or at which places."""
    claims: bool = False
    """Whether a foreign database claims to be a history, with our number and version."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}{', claiming to be ours' if self.claims else ''}"

    @property
    def still_ours(self) -> bool:
        """Whether it is still a history, though what it says may be wrong."""
        return self.kind in ("row", "state") or self.detail in OURS


@contextmanager
def applied(damage: Damage, path: Path, whole: Path) -> Iterator[None]:
    """A copy of the history `whole` at `path`, damaged; what holds it is let go at the end."""
    path.parent.mkdir()
    path.write_bytes(whole.read_bytes())
    path.chmod(0o600)
    with ExitStack() as held:
        _KINDS[damage.kind](damage, path, held)
        yield


def everything_in(folder: Path) -> dict[str, Any]:
    """All that is in a folder, links not followed: kind, mode, time of change and content of each."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 24 else None
        target = os.readlink(path) if path.is_symlink() else None
        kept = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns, target, content)
        found[str(path.relative_to(folder))] = kept
    return found


def _bytes(damage: Damage, path: Path, held: ExitStack) -> None:
    data = bytearray(path.read_bytes())
    for place, value in damage.detail:
        data[place % len(data)] = value
    path.write_bytes(data)


def _end(damage: Damage, path: Path, held: ExitStack) -> None:
    size, more = damage.detail
    data = path.read_bytes()
    path.write_bytes(data[: size % (len(data) + 1)] + more)


def _foreign(damage: Damage, path: Path, held: ExitStack) -> None:
    data = path.read_bytes()
    path.unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if damage.claims:
            connection.execute(f"pragma user_version = {int.from_bytes(data[60:64])}")
            connection.execute(f"pragma application_id = {int.from_bytes(data[68:72])}")
        for statement in FOREIGN[damage.detail]:
            connection.execute(statement)
        if not FOREIGN[damage.detail]:
            connection.execute("pragma page_size = 512")
            connection.execute("vacuum")


def _added(damage: Damage, path: Path, held: ExitStack) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in ADDED[damage.detail]:
            connection.execute(statement)


def _row(damage: Damage, path: Path, held: ExitStack) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"update learned set state = {ROWS[damage.detail]}")


def _state(damage: Damage, path: Path, held: ExitStack) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (key, state) = connection.execute("select key, state from learned").fetchone()
        text = json.dumps(damaged(json.loads(state), damage.detail))
        connection.execute("update learned set state = ? where key = ?", (text, key))


def _place(damage: Damage, path: Path, held: ExitStack) -> None:
    _PLACES[damage.detail](path, held)


_KINDS: dict[str, Callable[[Damage, Path, ExitStack], None]] = {
    "flips": _bytes,
    "header": _bytes,
    "end": _end,
    "foreign": _foreign,
    "added": _added,
    "row": _row,
    "state": _state,
    "place": _place,
}


def _instead(make: Callable[[Path], Any]) -> Callable[[Path, ExitStack], None]:
    def put(path: Path, held: ExitStack) -> None:
        path.rename(path.with_name("kept.db"))
        make(path)

    return put


def _socket(path: Path) -> None:
    made = socket.socket(socket.AF_UNIX)
    with closing(made), _in(path.parent):
        made.bind(path.name)


@contextmanager
def _in(folder: Path) -> Iterator[None]:
    """A path of a socket may not be long."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


def _piped(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def _locked(path: Path, held: ExitStack) -> None:
    file = held.enter_context(path.open("rb"))
    fcntl.flock(file, fcntl.LOCK_EX)


def _locked_by_sqlite(path: Path, held: ExitStack) -> None:
    connection = held.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
    connection.execute("begin exclusive")


def _beside(ending: str) -> Callable[[Path, ExitStack], None]:
    """A journal of SQLite's that names a file to be deleted once it was played back."""

    def put(path: Path, held: ExitStack) -> None:
        victim = path.with_name("precious.txt")
        victim.write_text("precious")
        name = os.fsencode(victim)
        magic = bytes.fromhex("d9d505f920a163d7")
        head = magic + b"".join(number.to_bytes(4) for number in (0, 0, 1, 512))
        lengths = len(name).to_bytes(4) + sum(name).to_bytes(4)
        tail = (3).to_bytes(4) + name + lengths + magic
        path.with_name(path.name + ending).write_bytes(head.ljust(512, b"\0") + tail)

    return put


def _many_rows(path: Path, held: ExitStack) -> None:
    with closing(sqlite3.connect(path)) as connection:
        rows = [(str(number), "{}", "{}") for number in range(10_000)]
        connection.executemany("insert into learned (key, fields, state) values (?, ?, ?)", rows)
        connection.commit()


def _gone(path: Path, held: ExitStack) -> None:
    path.unlink()
    path.parent.rmdir()


def _folder_is_a_file(path: Path, held: ExitStack) -> None:
    _gone(path, held)
    path.parent.write_text("a file")


_PLACES: dict[str, Callable[[Path, ExitStack], None]] = {
    "directory": _instead(Path.mkdir),
    "pipe": _instead(os.mkfifo),
    "socket": _instead(_socket),
    "dangling link": _instead(lambda path: path.symlink_to("nowhere")),
    "link to itself": _instead(lambda path: path.symlink_to(path.name)),
    "link to a history": _instead(lambda path: path.symlink_to("kept.db")),
    "link to a device": _instead(lambda path: path.symlink_to("/dev/zero")),
    "link to a pipe": _instead(_piped),
    "empty": _instead(Path.touch),
    "sparse": _instead(_sparse),
    "text": _instead(lambda path: path.write_text("no database at all\n" * 100)),
    "anybody may write": lambda path, held: path.chmod(0o606),
    "group may write": lambda path, held: path.chmod(0o660),
    "read-only": lambda path, held: path.chmod(0o400),
    "no permission": lambda path, held: path.chmod(0),
    "locked": _locked,
    "locked by SQLite": _locked_by_sqlite,
    "another journal": _beside("-journal"),
    "another log": _beside("-wal"),
    "many rows": _many_rows,
    "folder is gone": _gone,
    "folder is a file": _folder_is_a_file,
}
"""What else may be where the history is expected."""


def _can_be_made(statements: tuple[str, ...]) -> bool:
    """Whether this SQLite was built with what they use."""
    with closing(sqlite3.connect(":memory:")) as connection:
        built = {option for (option,) in connection.execute("pragma compile_options")}
    return "ENABLE_FTS5" in built or not any("fts5" in statement for statement in statements)


NAMED = (
    *(
        Damage("foreign", name, claims)
        for name, statements in FOREIGN.items()
        for claims in (False, True)
        if _can_be_made(statements)
    ),
    *(Damage("added", name) for name, statements in ADDED.items() if _can_be_made(statements)),
    *(Damage("row", name) for name in ROWS),
    *(Damage("place", name) for name in _PLACES),
)
"""Every damage that has a name."""


def damages() -> st.SearchStrategy[Damage]:
    """All kinds."""
    values = st.integers(0, 255)
    flips = st.lists(st.tuples(st.integers(0, 1 << 20), values), min_size=1, max_size=8)
    header = st.lists(st.tuples(st.integers(0, 99), values), min_size=1, max_size=4)
    ends = st.tuples(st.integers(0, 1 << 20), st.binary(max_size=64))
    return st.one_of(
        st.builds(Damage, st.just("flips"), flips),
        st.builds(Damage, st.just("header"), header),
        st.builds(Damage, st.just("end"), ends),
        st.builds(Damage, st.just("state"), DAMAGES),
        st.sampled_from(NAMED),
    )
