"""One column of a Parquet file, through pyarrow (extra `data`).

Invariant: a column comes out as a list of texts or as one numeric array; a missing value is an error that
names the row, since no array could hold it without becoming another type.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from microbatch.errors import ArgumentValueError, InputFileError, UnknownNameError, near_match
from microbatch.files.source import Source


def read_column(source: Source, column: str | None) -> list[str] | np.ndarray[Any, Any]:
    """The values of `column`, or of the only one; raises InputFileError for what cannot be read or held."""
    path = source.path
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        raise InputFileError(
            f"{path}: reading Parquet needs pyarrow, which is not installed; pip install microbatch[data]"
        ) from None
    with source.file() as opened, parquet.ParquetFile(opened) as file:
        name = _chosen(path, column, list(file.schema_arrow.names))
        table = file.read(columns=[name])
        return _values(path, name, table.column(name).combine_chunks(), arrow.types)


def _chosen(path: Path, column: str | None, names: list[str]) -> str:
    if not names:
        raise InputFileError(f"{path} has no columns; write the rows as a column")
    if column is None:
        if len(names) == 1:
            return names[0]
        raise ArgumentValueError(f"{path} has the columns {', '.join(names)}; choose one with --column")
    if column not in names:
        raise UnknownNameError(f"{path} has no column {column!r};{near_match(column, names)}")
    return column


def _values(path: Path, name: str, values: Any, types: Any) -> list[str] | np.ndarray[Any, Any]:
    _refuse_gaps(path, name, values, 1)
    kind = values.type
    if types.is_string(kind) or types.is_large_string(kind):
        return list(values.to_pylist())
    if types.is_fixed_size_list(kind):
        flat, width = values.flatten(), kind.list_size
        _refuse_gaps(path, name, flat, max(1, width))
        array = np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(len(values), width)
    else:
        array = np.asarray(values.to_numpy(zero_copy_only=False))
    if array.dtype.hasobject:
        raise InputFileError(
            f"{path}: column {name!r} is {kind}, which is no array; choose a column of text, numbers or "
            "lists of one fixed size"
        )
    return array


def _refuse_gaps(path: Path, name: str, values: Any, width: int) -> None:
    """Raise for a missing value; `width` values make a row."""
    if values.null_count:
        row = values.is_null().to_pylist().index(True) // width
        raise InputFileError(f"{path}: column {name!r} has no value in row {row}; fill or drop such rows")
