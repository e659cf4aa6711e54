"""Text files: a row a line.

Invariant: as many rows as lines, in order, empty lines too; the line break after the last line begins no row.
Only line feeds end lines (a carriage return before one goes with it): `str.splitlines` would also cut at form
feeds and Unicode separators, which stand inside paragraphs of real text.
"""

from __future__ import annotations

import codecs

from microbatch.errors import InputFileError
from microbatch.files.source import Source


def read_text(source: Source) -> list[str]:
    """The lines of a UTF-8 file; raises InputFileError naming the line that is not UTF-8."""
    with source.file() as file:
        data = file.read().removeprefix(codecs.BOM_UTF8)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputFileError(
            f"{source.path}: line {line} is not UTF-8 (byte {data[error.start]:#04x}); save the file as UTF-8"
        ) from None
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
