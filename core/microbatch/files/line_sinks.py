"""Lines: a text a row in `.txt`, a value of JSON a row in `.jsonl`.

Invariant: as many lines as rows, in order. What an earlier run stored is all lines up to a number of bytes.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from microbatch.errors import OutputFileError
from microbatch.files.places import writing
from microbatch.files.protocols import Block
from microbatch.files.results import ALONE, plain_list, row_values
from microbatch.files.spool import write_all
from microbatch.files.whole_file import FULL, WholeFile


class LineSink(ABC):
    """What both kinds share; `_lines` makes bytes of rows."""

    whole = False

    def __init__(self, file: WholeFile) -> None:
        self.file = file
        self.shape: tuple[int, ...] | None = None
        self.dtype = "lines"
        self._size = 0
        self._rows = 0

    def expect(self, rows: int | None) -> None:
        """Nothing to prepare."""

    def out(self, start: int, rows: int) -> None:
        """A step returns its result."""

    def store(self, block: Block) -> None:
        """Write a line for each row."""
        self.add(self._lines(block))
        self._rows = block.start + block.rows
        self.shape = (self._rows,)

    def add(self, lines: Sequence[bytes]) -> None:
        """Write these lines."""
        data = b"".join(lines)
        with writing(self.file.path, FULL):
            os.lseek(self.file.descriptor, self._size, os.SEEK_SET)
            write_all(self.file.descriptor, data)
        self._size += len(data)

    def state(self) -> Mapping[str, Any]:
        """Bytes and rows that were written."""
        return {"bytes": self._size, "rows": self._rows}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on after these lines."""
        self._size, self._rows = state["bytes"], state["rows"]
        if os.fstat(self.file.descriptor).st_size < self._size:
            raise OutputFileError(
                f"{self.file.part} is shorter than its journal says; remove it to begin anew"
            )
        os.ftruncate(self.file.descriptor, self._size)
        self.shape = (self._rows,)

    def start_anew(self) -> None:
        """Forget all lines."""
        self.restore({"bytes": 0, "rows": 0})

    def flush(self) -> None:
        """Wait until all lines have reached the disk."""
        with writing(self.file.path, FULL):
            os.fsync(self.file.descriptor)

    def finish(self, make: Callable[[], WholeFile]) -> WholeFile:
        """Nothing is left to write."""
        self.shape = (self._rows,)
        return self.file

    @abstractmethod
    def _lines(self, block: Block) -> list[bytes]:
        """One for each row of the block."""


class TextSink(LineSink):
    """A `.txt` file. A row that failed is an empty line."""

    def _lines(self, block: Block) -> list[bytes]:
        lines = [b"\n"] * block.rows
        for piece in block.pieces:
            values = row_values(self.file.path, piece.result, piece.rows)
            for index, value in enumerate(values, piece.start):
                lines[index] = self._line(value, block.start + index)
        return lines

    def _line(self, value: Any, row: int) -> bytes:
        if not isinstance(value, str):
            raise OutputFileError(
                f"row {row:,} of the result is {type(value).__name__}, and {self.file.path} holds texts; "
                "return texts,"
                " or use .jsonl, .parquet or .npy"
            )
        if "\n" in value or value.endswith("\r"):
            raise OutputFileError(
                f"row {row:,} of the result has a line break, which would be two rows of {self.file.path}; "
                "use .jsonl"
            )
        try:
            return value.encode() + b"\n"
        except UnicodeEncodeError:
            raise OutputFileError(
                f"row {row:,} of the result holds half a character, which no text file can; mend the text"
            ) from None


class JsonSink(LineSink):
    """A `.jsonl` file. A row that failed is null; with columns that are kept, its result is."""

    def _lines(self, block: Block) -> list[bytes]:
        rows: list[Any] = [None] * block.rows
        for piece in block.pieces:
            rows[piece.start : piece.start + piece.rows] = row_values(
                self.file.path, piece.result, piece.rows
            )
        if block.carried:
            rows = self._with_carried(block, rows)
        encoder = msgspec.json.Encoder(enc_hook=_plain)
        return [self._line(encoder, row, block.start + index) for index, row in enumerate(rows)]

    def _with_carried(self, block: Block, rows: list[Any]) -> list[Any]:
        carried = {name: plain_list(values) for name, values in block.carried.items()}
        found = []
        for index, row in enumerate(rows):
            own = row if isinstance(row, dict) else {ALONE: row}
            clash = next((name for name in own if name in carried), None)
            if clash is not None:
                raise OutputFileError(
                    f"the result has {clash!r}, which is kept of the input; leave it out of --keep"
                )
            found.append({name: values[index] for name, values in carried.items()} | own)
        return found

    def _line(self, encoder: msgspec.json.Encoder, value: Any, row: int) -> bytes:
        try:
            return encoder.encode(value) + b"\n"
        except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise OutputFileError(
                f"row {row:,} of the result is no JSON ({error}); return texts, numbers, lists or "
                "dictionaries"
            ) from None


def _plain(value: Any) -> Any:
    """Values of NumPy inside of rows, and arrays."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) or hasattr(value, "detach"):
        return plain_list(value) if getattr(value, "ndim", 1) else value.item()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
