"""What a function returned for some rows, as arrays by name or as a value a row.

Invariant: nothing is guessed: what has no entry for each row is refused in a sentence that says what came and
what to return. Tensors and arrays on devices come to the host here, without their gradients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from microbatch.arrays.trees import flatten
from microbatch.errors import OutputFileError
from microbatch.options.raised import text_of

ALONE = "result"
"""The name of a result that is one column."""


def on_host(path: Path, name: str, value: Any) -> np.ndarray[Any, Any]:
    """`value` as an array of numbers or texts; `path` and `name` are for the message."""
    try:
        array = np.asarray(_brought(value))
    except (TypeError, RuntimeError, ValueError) as error:
        raise OutputFileError(
            f"{name} is a {type(value).__name__} that cannot be written to {path} ({text_of(error)}); return"
            " it as an array on the host, without gradient"
        ) from None
    if array.dtype.hasobject:
        raise OutputFileError(f"{name} is a {type(value).__name__}, no array of numbers; return an array")
    return array


def named_arrays(path: Path, result: Any, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """Leaves of a result by name; numbered `arr_0` and on where they have none, as numpy.savez does."""
    frame = frame_columns(result)
    if frame is not None:
        return {name: on_host(path, name, np.asarray(column)) for name, column in frame.items()}
    if _is_rows(result, rows):
        return {"arr_0": on_host(path, "the output", result)}
    leaves, spec = flatten(result)
    found = [(path_, leaf) for path_, leaf in zip(spec.paths(), leaves, strict=True) if leaf is not None]
    names = [
        ".".join(map(str, keys)) if any(isinstance(key, str) for key in keys) else f"arr_{index}"
        for index, (keys, _) in enumerate(found)
    ]
    return {name: on_host(path, name, leaf) for name, (_, leaf) in zip(names, found, strict=True)}


def row_values(path: Path, result: Any, rows: int) -> list[Any]:
    """A plain value a row: a number, a text, a list, or a dictionary where there are several columns."""
    plain = {name: plain_list(column) for name, column in named_columns(path, result, rows).items()}
    if list(plain) == [""]:
        return plain[""]
    return [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]


def named_columns(path: Path, result: Any, rows: int) -> Mapping[str, Any]:
    """The columns of a result, each with an entry for each row; one without a name is called ''."""
    frame = frame_columns(result)
    if frame is None and has_rows_of(result, rows):
        return {"": _brought(result)}
    named = frame if frame is not None else _fields(result)
    if not named or not all(has_rows_of(column, rows) for column in named.values()):
        raise OutputFileError(
            f"the function returned {_said(result)}, which has no entry for each of {rows} rows; return an "
            "array, a"
            f" list or a table with as many entries as rows, to be written to {path}"
        )
    return named


def frame_columns(result: Any) -> dict[str, Any] | None:
    """The columns of a table of pandas, polars or Arrow by name; None for what is no table."""
    if hasattr(result, "column_names") and hasattr(result, "column"):
        return {str(name): result.column(name) for name in result.column_names}
    if hasattr(result, "columns") and hasattr(result, "dtypes"):
        return {str(name): result[name] for name in result.columns}
    return None


def _fields(result: Any) -> dict[str, Any]:
    if isinstance(result, Mapping):
        return _flat(result)
    if isinstance(result, tuple):
        names = getattr(result, "_fields", None) or [f"{ALONE}_{index}" for index in range(len(result))]
        return dict(zip(names, result, strict=True))
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {each.name: getattr(result, each.name) for each in dataclasses.fields(result)}
    return {}


def _flat(columns: Mapping[Any, Any], before: str = "") -> dict[str, Any]:
    """Columns of dictionaries in dictionaries, with a dot between their names."""
    found: dict[str, Any] = {}
    for name, value in columns.items():
        full = f"{before}{name}"
        found.update(_flat(value, f"{full}.") if isinstance(value, Mapping) else {full: value})
    return found


def has_rows_of(value: Any, rows: int) -> bool:
    """Whether it has as many entries as there are rows; texts and containers of columns have none."""
    if isinstance(value, (str, bytes, Mapping, tuple)) or not hasattr(value, "__len__"):
        return False
    try:
        return len(value) == rows
    except TypeError:  # an array without axes
        return False


def _is_rows(value: Any, rows: int) -> bool:
    """Whether it is a list with an entry for each row, and no list of arrays that have one each."""
    if not isinstance(value, list) or len(value) != rows:
        return False
    return not (rows and all(getattr(each, "shape", ())[:1] == (rows,) for each in value))


def plain_list(column: Any) -> list[Any]:
    """A list of Python's own values."""
    column = _brought(column)
    if isinstance(column, list):
        return column
    for name in ("to_pylist", "tolist", "to_list"):
        if hasattr(column, name):
            return list(getattr(column, name)())
    return list(column)


def _brought(value: Any) -> Any:
    """A tensor without gradient and on the host, an array of a device on the host; others as they are."""
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        return value.detach().cpu()
    return value.get() if hasattr(value, "get") and hasattr(value, "__cuda_array_interface__") else value


def _said(result: Any) -> str:
    count = f" of {len(result)}" if hasattr(result, "__len__") and not isinstance(result, Mapping) else ""
    return f"{type(result).__name__}{count}"
