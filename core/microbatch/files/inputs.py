"""From an input file to the arguments of one step.

Invariant: the file is checked as a whole before any row is worked on. Text is packed by length over all of
its rows, since that is where padding is saved; arrays are mapped, so a batch may be bigger than memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from microbatch.binding.rules import Layout, tokens
from microbatch.errors import ArgumentValueError, InputFileError, near_match
from microbatch.files.numpy_arrays import map_npy, read_npz
from microbatch.files.parquet import read_column
from microbatch.files.source import Source, parsing
from microbatch.files.text import read_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The batch of a file."""

    args: tuple[Any, ...] = ()
    """Positional arguments of the step."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments by name, from an `.npz` whose names are parameters."""
    rows: int
    """Rows of the batch."""
    layout: Layout | None = None
    """How to cut them where shapes do not say it; None for arrays."""
    source: Source
    """The file."""

    @property
    def path(self) -> Path:
        """Where the file is, as it was named."""
        return self.source.path

    def bound(self, parameters: Sequence[str]) -> Inputs:
        """Named arrays matched with the function's parameters: by name, or by position where no name is one.

        Raises InputFileError for a name that is no parameter while others are.
        """
        if not any(name in parameters for name in self.kwargs):
            return replace(self, args=(*self.args, *self.kwargs.values()), kwargs={})
        for name in self.kwargs:
            if name not in parameters:
                hint = near_match(name, parameters)
                raise InputFileError(f"{self.path} holds {name!r}, which is no parameter;{hint}")
        return self

    def sample(self, rows: int) -> Inputs:
        """At most `rows` of the rows, spread evenly over the file; an array of other length stays whole."""
        if self.rows <= rows:
            return self
        chosen = np.linspace(0, self.rows - 1, rows).astype(np.int64)
        args = tuple(self._rows_of(value, chosen) for value in self.args)
        kwargs = {name: self._rows_of(value, chosen) for name, value in self.kwargs.items()}
        return replace(self, args=args, kwargs=kwargs, rows=rows)

    def _rows_of(self, value: Any, chosen: np.ndarray[Any, Any]) -> Any:
        if isinstance(value, list):
            return [value[row] for row in chosen]
        return value[chosen] if value.ndim and len(value) == self.rows else value


def read_inputs(path: Path, *, column: str | None = None) -> Inputs:
    """Open `path`; `column` is the one to take of a Parquet file.

    Raises InputFileError for a file that is missing, damaged, not a regular file, or of an unknown kind, and
    InputChangedError where it became shorter meanwhile.
    """
    kind = path.suffix.lower()
    if kind not in READERS:
        raise InputFileError(f"{path} is of no kind that can be read; name one of {', '.join(READERS)}")
    if column is not None and kind != ".parquet":
        raise ArgumentValueError(f"{path} is a {kind} file, which has no columns to name; leave --column out")
    source = Source(path)
    with parsing(source, REMEDIES[kind]):
        inputs = READERS[kind](source, column)
    if kind != ".npy":
        source.settle()
    return inputs


def _read_npy(source: Source, column: str | None) -> Inputs:
    return _of_array(source, map_npy(source))


def _read_npz(source: Source, column: str | None) -> Inputs:
    return _of_archive(source, read_npz(source))


def _read_txt(source: Source, column: str | None) -> Inputs:
    return _of_texts(source, read_text(source))


def _read_parquet(source: Source, column: str | None) -> Inputs:
    values = read_column(source, column)
    return _of_texts(source, values) if isinstance(values, list) else _of_array(source, values)


READERS: Mapping[str, Callable[[Source, str | None], Inputs]] = MappingProxyType(
    {".npy": _read_npy, ".npz": _read_npz, ".parquet": _read_parquet, ".txt": _read_txt}
)
"""Suffix to what reads such a file."""
REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        ".npy": "write it with numpy.save",
        ".npz": "write it with numpy.savez and no objects in it",
        ".parquet": "write the file again",
        ".txt": "save it as UTF-8 text",
    }
)
"""What to do about a file that is damaged."""


def _of_texts(source: Source, rows: list[str]) -> Inputs:
    layout = Layout(inputs={"0": tokens()}, lengths=_text_lengths)
    return Inputs(source=source, args=(rows,), rows=len(rows), layout=layout)


def _text_lengths(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """Characters of each row; an empty one counts as one, since a model adds its marks to it."""
    return [max(1, len(text)) for text in args[0]]


def _of_array(source: Source, array: np.ndarray[Any, Any]) -> Inputs:
    if array.ndim == 0:
        raise InputFileError(f"{source.path} holds a single value and has no rows; save an array of rows")
    return Inputs(source=source, args=(array,), rows=array.shape[0])


def _of_archive(source: Source, arrays: dict[str, np.ndarray[Any, Any]]) -> Inputs:
    rows = next((len(array) for array in arrays.values() if array.ndim), None)
    if rows is None:
        raise InputFileError(f"{source.path} holds no array with rows; save at least one")
    return Inputs(source=source, kwargs=arrays, rows=rows)
