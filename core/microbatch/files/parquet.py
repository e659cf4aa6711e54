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

__all__ = ["read_column"]


def read_column(path: Path, column: str | None) -> list[str] | np.ndarray[Any, Any]:
    """The values of `column`, or of the only one; raises InputFileError for what cannot be read or held."""
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError:
        raise InputFileError(
            f"{path}: reading Parquet needs pyarrow, which is not installed; pip install microbatch[data]"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            name = _chosen(path, column, list(file.schema_arrow.names))
            table = file.read(columns=[name])
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError, OSError) as error:
        raise InputFileError(f"{path} cannot be read as Parquet ({error}); write the file again") from None
    return _values(path, name, table.column(name).combine_chunks(), arrow.types)


def _chosen(path: Path, column: str | None, names: list[str]) -> str:
    if column is None:
        if len(names) == 1:
            return names[0]
        raise ArgumentValueError(f"{path} has the columns {', '.join(names)}; choose one with --column")
    if column not in names:
        raise UnknownNameError(f"{path} has no column {column!r};{near_match(column, names)}")
    return column


def _values(path: Path, name: str, values: Any, types: Any) -> list[str] | np.ndarray[Any, Any]:
    if values.null_count:
        row = values.is_null().to_pylist().index(True)
        raise InputFileError(f"{path}: column {name!r} has no value in row {row}; fill or drop such rows")
    kind = values.type
    if types.is_string(kind) or types.is_large_string(kind):
        return list(values.to_pylist())
    if types.is_fixed_size_list(kind):
        width = kind.list_size
        return np.asarray(values.flatten().to_numpy(zero_copy_only=False)).reshape(len(values), width)
    array = np.asarray(values.to_numpy(zero_copy_only=False))
    if array.dtype.hasobject:
        raise InputFileError(
            f"{path}: column {name!r} is {kind}, which is no array; choose a column of text, numbers or "
            "lists of one fixed size"
        )
    return array
