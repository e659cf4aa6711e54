"""Rows of text files and of standard input: a row a line, read as they are needed.

Invariant: as many rows as lines, in order, empty lines too; the line break after the last line begins no row.
Only line feeds end lines (a carriage return before one goes with it): `str.splitlines` would also cut at form
feeds and Unicode separators, which stand inside paragraphs of real text. A file is read once before the work,
to count its lines and to find the one that is not UTF-8 (1 GB takes about 4 s); of standard input that is
found when it comes.
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from microbatch.errors import InputFileError
from microbatch.files.inputs import Inputs, of_columns
from microbatch.files.source import Origin, Source, StandardInput

FEW = 64 << 20
"""Bytes of a file whose lines may all be in memory."""


class LineRows:
    """The lines of a file of bytes."""

    def __init__(self, source: Origin, lines: Iterable[str], rows: int | None, *, whole: bool) -> None:
        self.source = source
        self.rows = rows
        self.whole = whole
        self._lines = iter(lines)

    def prepare(self, parameters: Sequence[str] | None) -> None:
        """Nothing: the lines were looked at when the file was opened."""

    def skip(self, rows: int) -> None:
        """Leave out so many rows."""
        for _ in range(rows):
            next(self._lines, None)

    def take(self, rows: int, most_bytes: int | None = None) -> Inputs:
        """The next rows."""
        texts: list[str] = []
        left = most_bytes if most_bytes is not None else 1 << 62
        while len(texts) < rows and left > 0:
            text = next(self._lines, None)
            if text is None:
                break
            texts.append(text)
            left -= len(text)
        return of_columns(self.source, {"": texts}, len(texts))


def open_txt(source: Source) -> LineRows:
    """The rows of a text file; raises InputFileError naming the line that is not UTF-8."""
    with source.file() as file:
        if source.size <= FEW:
            lines = list(decoded_lines(source, file))
            source.settle()
            return LineRows(source, lines, len(lines), whole=True)
        rows = sum(1 for _ in decoded_lines(source, file))
    return LineRows(source, _closing(source), rows, whole=False)


def open_stdin() -> LineRows:
    """The lines of standard input."""
    source = StandardInput()
    return LineRows(source, decoded_lines(source, os.fdopen(os.dup(0), "rb")), None, whole=False)


def _closing(source: Source) -> Iterator[str]:
    with source.file() as file:
        yield from decoded_lines(source, file)


def decoded_lines(source: Origin, file: IO[bytes]) -> Iterator[str]:
    """The lines of a UTF-8 file; raises InputFileError naming the line that is not UTF-8."""
    for number, line in enumerate(file, 1):
        data = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield (data.removeprefix(codecs.BOM_UTF8) if number == 1 else data).decode("utf-8")
        except UnicodeDecodeError as error:
            wrong = error.object[error.start]
            raise InputFileError(
                f"{source.path}: line {number} is not UTF-8 (byte {wrong:#04x}); save the file as UTF-8"
            ) from None
