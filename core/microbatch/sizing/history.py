"""What policies learned, kept across runs in one SQLite file.

Invariant: reading or writing never breaks a step. A path that cannot be used, a file that is not ours, a row
that is damaged: one warning, and the run goes on with nothing remembered. Writes are transactions, so several
processes may share a file; of two that write one key, the later one stays. Only numbers and names are kept,
as JSON: no pickle, so a foreign file can do no more than be ignored. Rejected: one JSON file (a reader-writer
race loses the other process's keys), free memory as part of the key (it is never the same twice).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from microbatch.errors import warn

SCHEMA = 2
"""Number of the file format; entries of another number are not read."""
MOST_ENTRIES = 1000
"""The entries not used for longest go first."""
_TABLE = """
create table if not exists learned (
    key text primary key, fields text not null, state text not null,
    changed text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now'))
)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryKey:
    """What must be equal for a learned state to hold; shapes, dtypes and the unit are in the state itself."""

    model: str
    """The user's id of the model, or the function's module and name."""
    policy: str
    """The policy or chain that learned."""
    backend: str
    """Name of the backend."""
    capacity: int
    """Total bytes of the device."""
    workers: int
    """Most workers a step may use."""
    device: str = ""
    """What the device is called; two of them may have as much memory."""
    graphs: bool = False
    """Whether ubatches are replayed from captured graphs."""
    versions: str = ""
    """Versions of the libraries that run the step."""
    schema: int = SCHEMA
    """Format of the state."""

    def text(self) -> str:
        """The key as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the file, for listings."""

    fields: Mapping[str, Any]
    """The key's fields."""
    state_bytes: int
    """Size of what was learned."""
    changed: str
    """Time of the last write, UTC."""


class History:
    """One file of learned states. Nothing is opened before the first use."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._off = False

    def load(self, key: HistoryKey) -> Mapping[str, Any] | None:
        """The state for `key`, or None if there is none or it cannot be read."""
        row = self._ask("select state from learned where key = ?", (key.text(),))
        if not row:
            return None
        state = _record(row[0][0])
        if state is None:
            self._warn("holds a damaged state, which is ignored")
        return state

    def save(self, key: HistoryKey, state: Mapping[str, Any]) -> None:
        """Keep `state` for `key`, in place of an older one."""
        self._ask(
            "insert into learned (key, fields, state) values (?, ?, ?) on conflict (key) do update"
            " set state = excluded.state, changed = excluded.changed",
            (key.text(), key.text(), json.dumps(state)),
        )
        self._ask(
            "delete from learned where key in "
            "(select key from learned order by changed desc limit -1 offset ?)",
            (MOST_ENTRIES,),
        )

    def entries(self) -> tuple[Entry, ...]:
        """Everything in the file, the newest first."""
        rows = self._ask("select fields, length(state), changed from learned order by changed desc, key", ())
        return tuple(
            Entry(fields=_record(text) or {}, state_bytes=size, changed=when) for text, size, when in rows
        )

    def clear(self, model: str | None = None) -> int:
        """Forget the entries of `model` (None: all); returns how many there were."""
        gone = [e for e in self.entries() if model is None or e.fields.get("model") == model]
        for entry in gone:
            self._ask("delete from learned where key = ?", (json.dumps(entry.fields, sort_keys=True),))
        return len(gone)

    def _ask(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        """Run one statement in a transaction of its own; an empty list where the file cannot be used."""
        import sqlite3

        if self._off:
            return []
        try:
            with closing(sqlite3.connect(self.path, timeout=5.0)) as connection, connection:
                connection.execute(_TABLE)
                return connection.execute(statement, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            self._warn(f"cannot be used ({error})")
            return []

    def _warn(self, what: str) -> None:
        self._off = True
        told = f"history {str(self.path)!r} {what}; sizes are learned anew and not kept in this run"
        warn(told, RuntimeWarning)


def _record(text: str) -> Mapping[str, Any] | None:
    """The object that `text` holds as JSON; None where it is damaged."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
