"""Steps with a history that was damaged: bytes changed, lost or added, other values, another program's file.

Invariant: the step's answer is right, at most one warning tells of the history, and nothing stays open. The
history is real: two functions have learned into it.
"""

from __future__ import annotations

import sqlite3
import tempfile
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

import microbatch
from microbatch.sizing.history import History
from tests.campaign.faults import shown
from tests.campaign.records import Found

LEFT = frozenset({"threads", "descriptors", "garbage"})
X = np.arange(4000.0 * 8).reshape(4000, 8)
"""The batch."""

Damage = Callable[[Path, Random], None]
"""Damages a file."""


def doubled(x: Any) -> Any:
    """What learns."""
    return x * 2


def begin() -> None:
    """Make a history and use it once."""
    with tempfile.TemporaryDirectory() as folder:
        made = _made(Path(folder) / "history")
        _used(made)


def case(draw: Random) -> Found:
    """One damage."""
    damage = draw.choice(DAMAGES)
    with tempfile.TemporaryDirectory() as folder:
        path = _made(Path(folder) / "history")
        damage(path, draw)
        wrong = _used(path) or _listed(path)
    failures = (f"{damage.__name__}: {wrong}",) if wrong else ()
    return Found(units={"histories": 1}, failures=failures)


def _made(path: Path) -> Path:
    """A history with two entries."""
    for model in ("one", "two"):
        with microbatch.wrap(doubled, history=str(path), model=model) as wrapper:
            wrapper(X)
    assert len(History(path).entries()) == 2
    return path


def _used(path: Path) -> str:
    """What is wrong when a wrapper uses it; empty where nothing is."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            with microbatch.wrap(doubled, history=str(path), model="one") as wrapper:
                answers = [wrapper(X) for _ in range(2)]
        except BaseException as error:  # noqa: BLE001 - judged
            return f"the step raised\n{shown(error)}"
    if not all(np.array_equal(answer, X * 2) for answer in answers):
        return "a wrong answer"
    if len(told) > 1:
        return f"{len(told)} warnings: {[str(each.message) for each in told]}"
    return ""


def _listed(path: Path) -> str:
    """What is wrong when its entries are listed; empty where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            History(path).entries()
        except BaseException as error:  # noqa: BLE001 - judged
            return f"listing it raised\n{shown(error)}"
    return ""


def some_bytes(path: Path, draw: Random) -> None:
    """1 to 64 bytes changed."""
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 2, 8, 64))):
        data[draw.randrange(len(data))] = draw.randrange(256)
    path.write_bytes(data)


def a_page(path: Path, draw: Random) -> None:
    """A stretch of zeros, as a disk leaves that lost power."""
    data = bytearray(path.read_bytes())
    begin = draw.randrange(len(data))
    data[begin : begin + draw.choice((16, 512, 4096))] = bytes(min(4096, len(data) - begin))
    path.write_bytes(data)


def cut_short(path: Path, draw: Random) -> None:
    """Its end lost."""
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data))])


def more_at_the_end(path: Path, draw: Random) -> None:
    """Rubbish added."""
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.randrange(1, 5000)))


def rubbish(path: Path, draw: Random) -> None:
    """Nothing but rubbish."""
    path.write_bytes(draw.randbytes(draw.randrange(0, 9000)))


def another_value(path: Path, draw: Random) -> None:
    """A column of an entry that holds something else."""
    column = draw.choice(("key", "fields", "state", "changed"))
    value = draw.choice(
        ("", "[]", "{", "null", '{"a": 1}', "[" * 5000, "NaN", '{"a": NaN}', 7, 1.5, b"\xff\x00", "\udfff")
    )
    if value == "\udfff":  # no text of UTF-8: SQLite keeps what it is given
        value = b"\xed\xbf\xbf"
    _executed(path, f"update learned set {column} = ? where rowid = 1", (value,))


def another_number(path: Path, draw: Random) -> None:
    """A state in which one number or name is another."""
    with closing(sqlite3.connect(path)) as connection:
        states = connection.execute("select rowid, state from learned").fetchall()
    for rowid, state in states:
        spots = [at for at, letter in enumerate(state) if letter.isdigit() or letter in "{}[],:.-"]
        at = draw.choice(spots)
        other = draw.choice(("9" * 400, "-1", "0", "1e999", "null", "true", '"x"', "[]", "{}", "", "-0.0"))
        changed = state[:at] + other + state[at + 1 :]
        _executed(path, "update learned set state = ? where rowid = ?", (changed, rowid))


def another_table(path: Path, draw: Random) -> None:
    """The file of another program, or of another version."""
    _executed(path, "drop table learned", ())
    statement = draw.choice(
        (
            "create table learned (key text)",
            "create table learned (fields text, state text)",
            "create view learned as select 1 as key, 2 as state",
            "create table other (a integer)",
            "create virtual table learned using fts5(key, state)",
        )
    )
    _executed(path, statement, ())


def a_trigger(path: Path, draw: Random) -> None:
    """A table that refuses what is written."""
    when = draw.choice(("insert", "update", "delete"))
    _executed(path, f"create trigger t before {when} on learned begin select raise(abort, 'no'); end", ())


def locked(path: Path, draw: Random) -> None:
    """Another program's lock file or leftover log beside it."""
    suffix = draw.choice(("-wal", "-journal", "-shm"))
    path.with_name(path.name + suffix).write_bytes(draw.randbytes(draw.choice((0, 32, 4096))))


def no_file(path: Path, draw: Random) -> None:
    """A folder, a link to itself, or nothing that can be read."""
    path.unlink()
    draw.choice((path.mkdir, lambda: path.symlink_to(path.name), lambda: path.symlink_to("/dev/null")))()


def _executed(path: Path, statement: str, values: tuple[Any, ...]) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement, values)
    except sqlite3.Error:
        return  # this SQLite cannot make such a file


DAMAGES: tuple[Damage, ...] = (
    some_bytes,
    some_bytes,
    a_page,
    cut_short,
    more_at_the_end,
    rubbish,
    another_value,
    another_number,
    another_number,
    another_table,
    a_trigger,
    locked,
    no_file,
)
"""Drawn from."""
