"""The journal of a run that may go on later: what it is a run of, and how far its part file is good.

Invariant: a line counts only if it is whole and follows from all lines before it: each begins with a checksum
of itself and of the checksum before. So a line that was torn by a kill or a power loss, changed, moved or
taken out ends what is believed, and rows after it run again; wrong rows are never taken for good ones. A line
is written after the rows that it speaks of have reached the disk, and has reached the disk before the next
rows run: two waits for the disk a block (6.5 ms together, median of 60 on a busy virtual disk), where a block
takes two seconds. Rejected: a line for each part, since parts take milliseconds; a database, for lines that
are only ever added and that people may want to read.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microbatch.files.places import writing

FORMAT = 1
"""Of the lines; a journal of another one is not gone on from."""
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a journal says."""

    facts: Facts | None = None
    """What it is a run of; None where there is no journal, or none that can be believed."""
    entries: Sequence[Facts] = ()
    """Its further lines, in order."""
    ends: Sequence[int] = ()
    """Where each of these lines ends, in bytes."""
    damaged: int = 0
    """The line that is not as it was written; 0 for none, or where only the last one was torn."""
    begin: int = field(default=0)
    """Where the first line ends."""


class Journal:
    """One file, open while its run lasts."""

    def __init__(self, path: Path, shown: Path) -> None:
        """`shown` is the output, by which errors name it."""
        self.path = path
        self._shown = shown
        self._descriptor = -1
        self._checksum = 0

    def read(self) -> Found:
        """What is there; never fails because of what is in it."""
        try:
            data = self.path.read_bytes()
        except OSError:
            return Found()
        return _parsed(data)

    def begin(self, facts: Facts) -> None:
        """Start anew with a run of these facts."""
        self._open(os.O_TRUNC)
        self._checksum = 0
        self.add({**facts, "format": FORMAT})

    def go_on(self, found: Found, entries: int) -> None:
        """Keep the first `entries` lines of what was read, and write behind them."""
        end = found.ends[entries - 1] if entries else found.begin
        self._open(0)
        with writing(self._shown, "free space, or choose another folder"):
            os.ftruncate(self._descriptor, end)
            os.lseek(self._descriptor, end, os.SEEK_SET)
        self._checksum = 0
        for line in self.path.read_bytes()[:end].splitlines():
            self._checksum = int(line[:8], 16)

    def add(self, entry: Facts) -> None:
        """Write a line and wait until it has reached the disk."""
        text = json.dumps(entry, separators=(",", ":")).encode()
        self._checksum = zlib.crc32(text, self._checksum)
        with writing(self._shown, "free space, or choose another folder"):
            _write_all(self._descriptor, b"%08x %s\n" % (self._checksum, text))
            os.fsync(self._descriptor)

    def remove(self) -> None:
        """The run is complete, or is not to be gone on from."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the file as it is."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self, more: int) -> None:
        self.close()
        with writing(self._shown, "choose a folder that this user may write to"):
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
            self._descriptor = os.open(self.path, flags | more, 0o600)


def _parsed(data: bytes) -> Found:
    entries: list[Facts] = []
    ends: list[int] = []
    at, checksum = 0, 0
    while at < len(data):
        stop = data.find(b"\n", at)
        line, end = data[at:stop], stop >= 0
        entry = _entry(line, checksum) if end else None
        if entry is None:
            break
        checksum, at = int(line[:8], 16), at + len(line) + 1
        entries.append(entry)
        ends.append(at)
    torn = b"\n" not in data[at:].rstrip(b"\n\0")
    damaged = 0 if at >= len(data) or (torn and entries) else len(entries) + 1
    if not entries or entries[0].get("format") != FORMAT:
        return Found(damaged=1 if data else 0)
    return Found(facts=entries[0], entries=entries[1:], ends=ends[1:], damaged=damaged, begin=ends[0])


def _entry(line: bytes, before: int) -> Facts | None:
    """The entry of a line that is whole and follows the checksum `before`."""
    try:
        checksum, text = int(line[:8], 16), line[9:]
        entry = json.loads(text) if zlib.crc32(text, before) == checksum and line[8:9] == b" " else None
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
