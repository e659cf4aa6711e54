"""Rows of JSON lines: a value a line, by `msgspec`, which microbatch has anyway.

Invariant: a column comes out alike in every block, so the file is read once before the work, to learn of each
column whether it is texts, numbers, lists of one shape, or anything else: then its values are those of
Python. Rejected: pyarrow's reader, which learns the types of all columns from the first megabyte and makes
moments of texts that look like some.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from microbatch.errors import InputFileError
from microbatch.files.arrow_rows import checked_name, choose
from microbatch.files.inputs import Inputs, of_columns
from microbatch.files.line_rows import decoded_lines
from microbatch.files.source import Origin, Source
from microbatch.options.messages import shorten

VALUE = ""
"""The column of a file whose lines are no objects."""
MISSING: Any = None
"""What stands in a row without a key, as in one whose value is null."""
LARGEST = 1 << 63
"""Whole numbers from here on fit no array of whole numbers."""


@dataclass(slots=True)
class Seen:
    """What was seen of a column."""

    kinds: set[str] = field(default_factory=set)
    """Kinds of its values: none, bool, int, float, text, other, or one kind of number and a shape."""
    shapes: set[tuple[int, ...]] = field(default_factory=set)
    """Shapes of the lists of numbers among them."""
    gap: int = -1
    """The first row without a value."""

    def add(self, value: Any, row: int) -> None:
        """See one more."""
        kind, shape = _looks(value)
        self.kinds.add(kind)
        self.shapes.add(shape)
        if kind == "none" and self.gap < 0:
            self.gap = row

    @property
    def is_array(self) -> bool:
        """Whether it is numbers, or lists of numbers."""
        return bool(self.kinds) and self.kinds <= {"bool", "int", "float"}

    @property
    def dtype(self) -> type:
        """Of such an array."""
        if self.kinds == {"bool"}:
            return bool
        return np.float64 if "float" in self.kinds else np.int64


class JsonRows:
    """The lines of one file."""

    whole = False

    def __init__(self, source: Source, columns: Sequence[str], carried: Sequence[str]) -> None:
        self.source: Origin = source
        self._file = source
        self.rows: int | None = 0
        self._seen: dict[str, Seen] = {}
        self._look()
        names = list(self._seen)
        self._chosen = [checked_name(source, name, names) for name in columns]
        self._carried = [checked_name(source, name, names) for name in carried]
        self._lines = self._objects()

    def prepare(self, parameters: Sequence[str] | None) -> None:
        """Choose the columns; refuse those that could be an array or texts if no value were missing."""
        names = [name for name in self._seen if name not in self._carried]
        if self.rows and not self._chosen:
            self._chosen = choose(self.source, names, parameters)
        for name in self._chosen:
            self._check(name, self._seen[name])

    def skip(self, rows: int) -> None:
        """Leave out so many rows."""
        for _ in range(rows):
            next(self._lines, None)

    def take(self, rows: int, most_bytes: int | None = None) -> Inputs:
        """The next rows."""
        found: list[Mapping[str, Any]] = []
        left = 1 << 62 if most_bytes is None else most_bytes
        while len(found) < rows and left > 0:
            row = next(self._lines, None)
            if row is None:
                break
            found.append(row[0])
            left -= row[1]
        columns = {name: self._values(name, found) for name in self._chosen or [VALUE]}
        carried = {name: [row.get(name, MISSING) for row in found] for name in self._carried}
        inputs = of_columns(self.source, columns, len(found))
        return Inputs(
            source=self.source,
            args=inputs.args,
            kwargs=inputs.kwargs,
            layout=inputs.layout,
            rows=inputs.rows,
            carried=carried,
        )

    def _values(self, name: str, rows: Sequence[Mapping[str, Any]]) -> list[Any] | np.ndarray[Any, Any]:
        values = [row.get(name, MISSING) for row in rows]
        seen = self._seen.get(name, Seen())
        if not seen.is_array:
            return values
        return np.array(values, seen.dtype).reshape(len(values), *next(iter(seen.shapes)))

    def _look(self) -> None:
        rows = 0
        for row, _ in self._objects():
            for name in [name for name in row if name not in self._seen]:
                self._seen[name] = Seen({"none"}, {()}, 0) if rows else Seen()
            for name, seen in self._seen.items():
                seen.add(row.get(name, MISSING), rows)
            rows += 1
        self.rows = rows

    def _check(self, name: str, seen: Seen) -> None:
        where = f"{self.source.path}: column {name!r}" if name else f"{self.source.path}"
        known = seen.kinds - {"none"}
        if seen.gap >= 0 and "other" not in known:
            raise InputFileError(f"{where} has no value in row {seen.gap}; fill or drop such rows")
        if seen.is_array and len(seen.shapes) > 1:
            shapes = " and ".join(str(list(shape)) for shape in sorted(seen.shapes)[:2])
            raise InputFileError(
                f"{where} has numbers of the shapes {shapes}, which is no array; make all of one shape, or "
                "keep "
                "them as text"
            )

    def _objects(self) -> Iterator[tuple[Mapping[str, Any], int]]:
        """Each row by column, and its length."""
        decoder = msgspec.json.Decoder()
        objects = None
        with self._file.file() as file:
            for number, line in enumerate(decoded_lines(self.source, file), 1):
                try:
                    value = decoder.decode(line)
                except (msgspec.DecodeError, RecursionError) as error:
                    raise InputFileError(
                        f"{self.source.path}: line {number} is no JSON ({shorten(str(error), 100)}); write "
                        "one "
                        "value a line"
                    ) from None
                if objects is not None and isinstance(value, dict) is not objects:
                    raise InputFileError(
                        f"{self.source.path}: line {number} is {'no ' * objects}object while those before are"
                        f"{' not' * (not objects)}; write one kind of value"
                    )
                objects = isinstance(value, dict)
                yield (value if objects else {VALUE: value}), len(line)


def _looks(value: Any) -> tuple[str, tuple[int, ...]]:
    """The kind of a value, and the shape of one that is lists of numbers."""
    if value is None:
        return "none", ()
    if isinstance(value, bool):
        return "bool", ()
    if isinstance(value, int):
        return ("int" if -LARGEST <= value < LARGEST else "other"), ()
    if isinstance(value, float):
        return "float", ()
    if isinstance(value, str):
        return "text", ()
    return _looks_of_list(value) if isinstance(value, list) else ("other", ())


def _looks_of_list(values: list[Any]) -> tuple[str, tuple[int, ...]]:
    looks = [_looks(value) for value in values]
    kinds, shapes = {kind for kind, _ in looks}, {shape for _, shape in looks}
    if not kinds:
        return "int", (0,)
    if not kinds <= {"bool", "int", "float"} or len(shapes) > 1:
        ragged = kinds <= {"bool", "int", "float"}
        return ("int", (-1,)) if ragged else ("other", ())
    kind = "float" if "float" in kinds else "int" if "int" in kinds else "bool"
    return kind, (len(values), *shapes.pop())
