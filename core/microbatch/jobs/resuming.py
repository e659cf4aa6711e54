"""A run that goes on where an earlier one ended: which of its rows are believed, and when it is refused.

Invariant: rows of an earlier run are taken only where the input, the target and its source, and what else
decides a row's result are the same; otherwise the run is refused, in a sentence that names the difference.
How rows are cut (`memory_limit`, `workers`, sizes, schedules) may differ: a run that was killed for its
memory must be able to go on with less. What is damaged costs rows that run again, never wrong ones
(`journal.py`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microbatch.errors import ArgumentValueError, OutputFileError
from microbatch.files.journal import Facts, Found, Journal
from microbatch.files.line_sinks import JsonSink
from microbatch.files.protocols import Sink
from microbatch.files.whole_file import WholeFile

NAMES: Mapping[str, str] = {
    "version": "version of microbatch",
    "input": "input",
    "target": "target",
    "source": "source of the target",
    "backend": "backend",
    "columns": "choice of columns",
    "keep": "choice of columns to keep",
    "on_error": "treatment of errors",
    "arguments": "arguments of the target",
}
"""What must be the same, in words."""
SHORT = 80
"""Characters of a fact that are shown."""


def journal_of(file: WholeFile) -> Path:
    """Where the journal of a part file is."""
    return file.part.with_name(f"{file.part.name}.journal")


class Resuming:
    """The journal of one output, and what it says."""

    def __init__(self, sink: Sink, errors: JsonSink | None) -> None:
        self._sink = sink
        self._errors = errors
        self._file = sink.file
        self.journal = Journal(journal_of(self._file), self._file.path)
        self._found: Found = self.journal.read() if os.fstat(self._file.descriptor).st_size else Found()
        self._file.begun = bool(self._found.facts)
        self.damaged = ""
        """What to warn of; empty where nothing is damaged."""

    def rows_of_complete(self, facts: Facts) -> int | None:
        """Rows of an output that an earlier run of the same facts gave its name, and ended before it could
        remove its journal; None where there is no such output."""
        found = self.journal.read()
        if found.facts is None or not found.entries or "complete" not in found.entries[-1]:
            return None
        try:
            there = os.stat(self._file.final)
        except OSError:
            return None
        same = all(found.facts.get(key) == facts.get(key) for key in NAMES)
        if not same or [there.st_dev, there.st_ino] != found.entries[-1]["complete"]:
            return None
        self._file.begun = False
        self._file.size = there.st_size
        self.journal.remove()
        rows: int = sum(entry["rows"] for entry in _following(found.entries))
        return rows

    def begin(self, facts: Facts) -> int:
        """Rows that are there already. Raises ArgumentValueError where they are of another run."""
        found = self._found
        if found.facts is None:
            if found.damaged:
                self.damaged = f"the journal of {self._file.path} cannot be read, so the run begins anew"
            return self._anew(facts)
        self._refuse_other(found.facts, facts)
        entries = _following(found.entries)
        rows = 0
        while entries and not rows:
            rows = self._restored(entries[-1])
            entries = entries if rows else entries[:-1]
        if found.damaged or len(entries) < len([e for e in found.entries if "rows" in e]):
            what = (
                f"is damaged in line {found.damaged}" if found.damaged else "says more than its part file has"
            )
            self.damaged = f"the journal of {self._file.path} {what}, so rows from {rows:,} on run again"
        if not rows:
            return self._anew(facts)
        self.journal.go_on(found, len(entries))
        return rows

    def stored(self, start: int, rows: int) -> None:
        """The rows up to here are in the sink: have them reach the disk, and note that."""
        self._sink.flush()
        entry: dict[str, Any] = {"start": start, "rows": rows, "state": self._sink.state()}
        if self._errors is not None:
            self._errors.flush()
            entry["errors"] = self._errors.state()
        # before the entry: an interrupt between the two must not discard what the journal says is there
        self._file.begun = True
        if self._errors is not None:
            self._errors.file.begun = True
        self.journal.add(entry)

    def completing(self, file: WholeFile) -> None:
        """All rows are there, and `file` is about to get the output's name."""
        self.journal.add({"complete": list(file.identity)})

    def done(self) -> None:
        """The output has its name: nothing is to be gone on from."""
        self._file.begun = False
        self._file.discard()
        self.journal.remove()

    def close(self) -> None:
        """The run ends, for whatever reason; what is worth going on from stays."""
        self.journal.close()
        if not self._file.begun and not self._file.committed:
            self.journal.remove()

    def _anew(self, facts: Facts) -> int:
        self._file.begun = False
        self._sink.start_anew()
        if self._errors is not None:
            self._errors.start_anew()
        self.journal.begin(facts)
        return 0

    def _restored(self, entry: Facts) -> int:
        """Rows up to this entry, which are there again; 0 where the part file does not have them."""
        try:
            self._sink.restore(entry["state"])
            if self._errors is not None:
                self._errors.restore(entry["errors"])
                self._errors.file.begun = True
        except OutputFileError:
            return 0
        return int(entry["start"] + entry["rows"])

    def _refuse_other(self, before: Facts, now: Facts) -> None:
        for key, name in NAMES.items():
            if before.get(key) != now.get(key):
                raise ArgumentValueError(
                    f"{self._file.path} was begun with another {name} ({_shown(before.get(key))} then, "
                    f"{_shown(now.get(key))} now); give the same again, or remove {self._file.part} to begin "
                    "anew"
                )


def _following(entries: Any) -> list[Facts]:
    """Those that speak of rows, as long as each follows the one before."""
    found: list[Facts] = []
    at = 0
    for entry in entries:
        if "rows" not in entry or entry["start"] != at:
            break
        found.append(entry)
        at += entry["rows"]
    return found


def _shown(fact: Any) -> str:
    text = (
        fact if isinstance(fact, str) else ", ".join(map(str, fact)) if isinstance(fact, list) else str(fact)
    )
    return text if len(text) <= SHORT else f"{text[: SHORT - 3]}..."
