"""A result as a table of Arrow.

Invariant: a column for each name that the result has, `result` where it has none; a row that failed has no
value in any of them. An array with further axes becomes lists of fixed size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microbatch.errors import OutputFileError
from microbatch.files.protocols import Block, Piece
from microbatch.files.results import ALONE, named_columns, on_host, plain_list


def result_table(arrow: Any, path: Path, block: Block, known: Sequence[str]) -> Any:
    """The rows of a block, with those columns of the input in front that are carried along.

    `known` are the columns of the blocks before, for a block of which every row has failed.
    """
    try:
        names = [name for name in known if name not in block.carried] or [ALONE]
        found = [(piece, _table(arrow, path, piece)) for piece in block.pieces]
        result = _joined(arrow, block, found, names)
        carried = {name: _column(arrow, path, name, values) for name, values in block.carried.items()}
    except arrow.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise OutputFileError(
            f"{block.text}: the result cannot be a column of {path} ({reason}); return values of one type"
        ) from None
    clash = next((name for name in result.column_names if name in carried), None)
    if clash is not None:
        raise OutputFileError(f"the result has {clash!r}, which is kept of the input; leave it out of --keep")
    if not carried:
        return result
    names = [*carried, *result.column_names]
    return arrow.table([*carried.values(), *result.columns], names=names)


def _joined(arrow: Any, block: Block, found: list[tuple[Piece, Any]], known: list[str]) -> Any:
    if found and found[0][0].rows == block.rows:
        return found[0][1]
    names = found[0][1].column_names if found else known
    tables, at = [], 0
    for piece, table in found:
        tables += [_nothing(arrow, names, piece.start - at), table]
        at = piece.start + piece.rows
    tables.append(_nothing(arrow, names, block.rows - at))
    return arrow.concat_tables([table for table in tables if table.num_rows], promote_options="permissive")


def _nothing(arrow: Any, names: list[str], rows: int) -> Any:
    return arrow.table([arrow.nulls(rows) for _ in names], names=names)


def _table(arrow: Any, path: Path, piece: Piece) -> Any:
    result, rows = piece.result, piece.rows
    if hasattr(result, "__arrow_c_stream__") and hasattr(result, "columns") and len(result) == rows:
        if hasattr(result, "reset_index"):
            return arrow.Table.from_pandas(result, preserve_index=False).replace_schema_metadata(None)
        return arrow.table(result).replace_schema_metadata(None)
    columns = named_columns(path, result, rows)
    if list(columns) == [""]:
        values = columns[""]
        if isinstance(values, list) and values and all(isinstance(row, Mapping) for row in values):
            batch = arrow.RecordBatch.from_struct_array(arrow.array([dict(row) for row in values]))
            return arrow.Table.from_batches([batch])
        return arrow.table({ALONE: _column(arrow, path, ALONE, values)})
    return arrow.table({name: _column(arrow, path, name, values) for name, values in columns.items()})


def _column(arrow: Any, path: Path, name: str, values: Any) -> Any:
    if isinstance(values, (arrow.Array, arrow.ChunkedArray)):
        return values
    if isinstance(values, list):
        return arrow.array([_plain(value) for value in values])
    if hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_array__"):
        return arrow.chunked_array(values)
    if not hasattr(values, "shape"):
        return arrow.array(plain_list(values))
    array = on_host(path, name, values)
    if array.ndim == 1:
        return arrow.array(array)
    column = arrow.array(np.ascontiguousarray(array).reshape(-1))
    for size in reversed(array.shape[1:]):
        column = arrow.FixedSizeListArray.from_arrays(column, size)
    return column


def _plain(value: Any) -> Any:
    """Arrays inside of rows as lists."""
    return plain_list(value) if getattr(value, "ndim", 0) or hasattr(value, "detach") else value
