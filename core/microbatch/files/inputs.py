"""From an input file to the arguments of one step.

Invariant: the file is checked as a whole before any row is worked on. Text is packed by length over all of
its rows, since that is where padding is saved; arrays are mapped, so a batch may be bigger than memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from microbatch.binding.rules import Layout, tokens
from microbatch.errors import ArgumentValueError, InputFileError, near_match
from microbatch.files.numpy_arrays import map_npy, read_npz
from microbatch.files.parquet import read_column
from microbatch.files.text import read_text

KINDS = (".npy", ".npz", ".parquet", ".txt")


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
    path: Path
    """The file."""

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

    Raises InputFileError for a file that is missing, cut short or of an unknown kind.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise InputFileError(f"{path} is of no kind that can be read; name one of {', '.join(KINDS)}")
    if column is not None and kind != ".parquet":
        raise ArgumentValueError(f"{path} is a {kind} file, which has no columns to name; leave --column out")
    if path.is_dir() or not path.exists():
        problem = "is a folder" if path.is_dir() else "does not exist"
        raise InputFileError(f"{path} {problem}; name an input file")
    try:
        return _read(path, kind, column)
    except PermissionError:
        raise InputFileError(f"{path} may not be read by this user; change its permissions") from None


def _read(path: Path, kind: str, column: str | None) -> Inputs:
    if kind == ".npz":
        return _of_archive(path, read_npz(path))
    if kind == ".npy":
        return _of_array(path, map_npy(path))
    if kind == ".txt":
        return _of_texts(path, read_text(path))
    values = read_column(path, column)
    return _of_texts(path, values) if isinstance(values, list) else _of_array(path, values)


def _of_texts(path: Path, rows: list[str]) -> Inputs:
    layout = Layout(inputs={"0": tokens()}, lengths=_text_lengths)
    return Inputs(path=path, args=(rows,), rows=len(rows), layout=layout)


def _text_lengths(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """Characters of each row; an empty one counts as one, since a model adds its marks to it."""
    return [max(1, len(text)) for text in args[0]]


def _of_array(path: Path, array: np.ndarray[Any, Any]) -> Inputs:
    if array.ndim == 0:
        raise InputFileError(f"{path} holds a single value and has no rows; save an array of rows")
    return Inputs(path=path, args=(array,), rows=array.shape[0])


def _of_archive(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> Inputs:
    rows = next((len(array) for array in arrays.values() if array.ndim), None)
    if rows is None:
        raise InputFileError(f"{path} holds no array with rows; save at least one")
    return Inputs(path=path, kwargs=arrays, rows=rows)
