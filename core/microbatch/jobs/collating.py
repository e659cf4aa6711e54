"""Rows, or small batches, put together for one step; and its result given back in the same pieces.

Invariant: what comes back for an item is the part of the result that belongs to it, in the order of the
items. A tuple is several arguments, a dictionary arguments by name. Rows of one shape become one array of
their framework, numbers an array, all else a list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from microbatch.errors import ArgumentTypeError, OutputMismatchError
from microbatch.files.results import has_rows_of
from microbatch.loading.plugins import default_plugins


@dataclass(frozen=True, slots=True, kw_only=True)
class Collated:
    """Some items as the arguments of one step."""

    args: tuple[Any, ...]
    """Positional ones."""
    kwargs: Mapping[str, Any]
    """Those by name."""
    counts: Sequence[int]
    """Rows of each item."""

    @property
    def rows(self) -> int:
        """Of all items."""
        return sum(self.counts)


def collated(items: Sequence[Any], *, batched: bool) -> Collated:
    """The arguments; raises ArgumentTypeError for items that do not go together."""
    first = items[0]
    join = _joined_batches if batched else _joined_rows
    if isinstance(first, Mapping):
        keys = list(first)
        if any(not isinstance(item, Mapping) or list(item) != keys for item in items):
            raise ArgumentTypeError("the items have different names; give all of them the same")
        kwargs = {str(key): join([item[key] for item in items]) for key in keys}
        return Collated(args=(), kwargs=kwargs, counts=_counts([item[keys[0]] for item in items], batched))
    if _is_several(first, batched):
        if any(not isinstance(item, type(first)) or len(item) != len(first) for item in items):
            raise ArgumentTypeError("the items have different numbers of values; give all of them as many")
        columns = [list(column) for column in zip(*items, strict=True)]
        return Collated(args=tuple(map(join, columns)), kwargs={}, counts=_counts(columns[0], batched))
    return Collated(args=(join(items),), kwargs={}, counts=_counts(items, batched))


def in_pieces(result: Any, made: Collated, *, batched: bool) -> Iterator[Any]:
    """The result of each item. Raises OutputMismatchError where it has no entry for each row."""
    if not has_rows_of(result, made.rows) and not _fields(result):
        raise OutputMismatchError(
            f"the function returned {type(result).__name__}, which has no entry for each of {made.rows} rows;"
            " return an array or a list with as many entries as rows"
        )
    at = 0
    for count in made.counts:
        yield _part(result, at, at + count if batched else None, made.rows)
        at += count


def _part(value: Any, start: int, stop: int | None, rows: int) -> Any:
    fields = _fields(value)
    if fields and not has_rows_of(value, rows):
        return _rebuilt(value, {name: _part(each, start, stop, rows) for name, each in fields.items()})
    if not has_rows_of(value, rows):
        return value
    value = value.iloc if hasattr(value, "iloc") else value
    return value[start] if stop is None else value[start:stop]


def _fields(value: Any) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return dict(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return {}


def _rebuilt(value: Any, fields: dict[Any, Any]) -> Any:
    if isinstance(value, tuple):
        return type(value)(*fields.values()) if hasattr(value, "_fields") else tuple(fields.values())
    if isinstance(value, Mapping):
        return fields if type(value) is dict else type(value)(fields)  # type: ignore[call-arg]
    return dataclasses.replace(value, **fields)


def _is_several(first: Any, batched: bool) -> bool:
    """Whether an item is several arguments: a tuple, and of batches a list of arrays."""
    return isinstance(first, tuple) or (
        batched and isinstance(first, list) and bool(first) and all(hasattr(each, "shape") for each in first)
    )


def _counts(values: Sequence[Any], batched: bool) -> list[int]:
    if not batched:
        return [1] * len(values)
    try:
        return [len(value) for value in values]
    except TypeError:
        kind = type(values[0]).__name__
        raise ArgumentTypeError(f"a batch of type {kind} has no rows; pass batched=False for rows") from None


def _joined_rows(values: Sequence[Any]) -> Any:
    first: Any = values[0]
    kind = type(first)
    if kind in (bool, int, float, complex) and all(isinstance(value, kind) for value in values):
        return np.array(values)
    if not hasattr(first, "shape") or any(getattr(value, "shape", None) != first.shape for value in values):
        return list(values)
    if isinstance(first, (np.ndarray, np.generic)):
        return np.stack([np.asarray(value) for value in values])
    return default_plugins().backend_for([first]).concatenate([value[None] for value in values], 0)


def _joined_batches(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, list):
        return [row for value in values for row in value]
    if not hasattr(first, "shape") or hasattr(first, "columns"):
        raise ArgumentTypeError(
            f"batches of type {type(first).__name__} cannot be put together; give arrays or lists"
        )
    if len(values) == 1:
        return first
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    return default_plugins().backend_for([first]).concatenate(values, 0)
