"""What policies learned, kept across runs in one file.

Invariant: a history is a cache: to read or write it never fails a step and never takes longer than `LIMIT`.
A path that cannot be used, a file that is not ours, a row that is damaged: one warning, and the run goes on
with nothing remembered, the file as it was. The file is an SQLite database of one table, of which a copy is
read and checked in memory (`history_rows.py`) and which is replaced as a whole (`history_file.py`), so
several processes may share it; of two that write one key, the later one stays. Only numbers and names are
kept, as JSON: no pickle, so a foreign file can do no more than be ignored. Rejected: one JSON file (a
reader-writer race loses the other process's keys), free memory as part of the key (it is never the same
twice).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from microbatch.errors import warn
from microbatch.options.raised import attempted, described, is_a, text_of
from microbatch.sizing import history_file, history_state
from microbatch.sizing.deadline import Deadline
from microbatch.sizing.history_rows import (
    MOST_ENTRIES,
    SCHEMA,
    BusyError,
    Row,
    Rows,
    UnusableError,
    bytes_of,
    rows_in,
)
from microbatch.sizing.transactions import TRANSACTIONS
from microbatch.turns.runtime import Runtime, default_runtime

__all__ = ["MOST_ENTRIES", "SCHEMA", "Entry", "History", "HistoryKey"]

LIMIT = 0.2
"""Seconds that reading or writing may take."""
ANEW = "sizes are learned anew and not kept in this run"
"""What follows where a history cannot be used."""

Answer = TypeVar("Answer")


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
    """One file of learned states. Nothing is opened before the first use, nor between two uses."""

    def __init__(
        self,
        path: str | Path,
        *,
        tell: Callable[[str], None] | None = None,
        limit: float = LIMIT,
        runtime: Runtime | None = None,
    ) -> None:
        """`tell` is told, once, why nothing can be read or written; None warns."""
        self.path = Path(path)
        """As it was given."""
        self._place = os.path.abspath(path)
        self._tell = tell
        self._limit = limit
        self._runtime = runtime or default_runtime()
        self._off = False
        self._told = False

    def load(self, key: HistoryKey) -> Mapping[str, Any] | None:
        """The state for `key`, or None if there is none or it cannot be read."""
        row = self._rows().get(key.text())
        if row is None:
            return None
        state = history_state.read(row.state)
        if state is None:
            self._give_up("holds a damaged state, which is ignored")
        return state

    def save(self, key: HistoryKey, state: Mapping[str, Any]) -> None:
        """Keep `state` for `key`, in place of an older one."""
        text = history_state.written(state)
        if text is None:
            self._give_up(f"is not for what policy {key.policy!r} keeps: JSON of finite numbers, up to 1 MiB")
        else:
            row = Row(key.text(), text)
            self._change(lambda rows: {**rows, row.fields: row})

    def entries(self) -> tuple[Entry, ...]:
        """Everything in the file, the newest first."""
        rows = sorted(self._rows().items())
        rows.sort(key=lambda entry: entry[1].changed or "", reverse=True)
        return tuple(
            Entry(fields=_fields(row), state_bytes=len(row.state), changed=row.changed or "")
            for _, row in rows
        )

    def clear(self, model: str | None = None) -> int:
        """Forget the entries of `model` (None: all); returns how many there were."""
        gone = [key for key, row in self._rows().items() if model in (None, _fields(row).get("model"))]
        if gone:
            self._change(lambda rows: {key: row for key, row in rows.items() if key not in gone})
        return len(gone)

    def _rows(self) -> Rows:
        """All entries; none where the file is not there or cannot be used."""
        deadline = Deadline(self._limit, self._runtime)
        return self._attempt(lambda: _rows_of(history_file.read(self._place), deadline)) or {}

    def _change(self, change: Callable[[Rows], Rows]) -> None:
        """Put what `change` makes of all entries in their place."""
        deadline = Deadline(self._limit, self._runtime)

        def changed(data: bytes | None) -> bytes:
            return bytes_of(change(_rows_of(data, deadline)), deadline)

        self._attempt(lambda: history_file.update(self._place, changed, deadline))

    def _attempt(self, work: Callable[[], Answer]) -> Answer | None:
        """What `work` returns; None where it fails, which is told once."""
        if self._off:
            return None
        if TRANSACTIONS.cut_by_fork():
            self._give_up("was open in another thread when this process was forked")
            return None
        answer, error = attempted(lambda: TRANSACTIONS.run(work))
        if error is not None:
            why = text_of(error) if is_a(error, UnusableError) else described(error)
            self._give_up(f"cannot be used ({why})", off=not is_a(error, BusyError))
        return answer

    def _give_up(self, what: str, *, off: bool = True) -> None:
        """Say so, the first time, and use the file no more; with `off` False it is used again next time."""
        self._off = self._off or off
        if not self._told:
            self._told = True
            tell = self._tell or self._warn  # not kept: that would be a cycle
            tell(f"{what}; {ANEW}")

    def _warn(self, what: str) -> None:
        warn(f"history {str(self.path)!r} {what}", RuntimeWarning)


def _rows_of(data: bytes | None, deadline: Deadline) -> Rows:
    return {} if data is None else rows_in(data, deadline)


def _entry(row: Row) -> Entry:
    return Entry(fields=_fields(row), state_bytes=len(row.state), changed=row.changed or "")


def _fields(row: Row) -> Mapping[str, Any]:
    """The fields of its key; none where they are damaged."""
    return history_state.read(row.fields) or {}
