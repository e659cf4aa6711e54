"""Rows of xarray: arrays and datasets, along their first dimension.

Invariant: names, dimensions, attributes and coordinates are those of the parts. What does not have the
dimension must be the same in all parts, since it is said once for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np

xarray: Any = import_module("xarray")
"""Its overloads have no place for what is of either kind."""


class LabelledRows:
    """Arrays and datasets."""

    def unsupported(self, rows: Any) -> str | None:
        """Without a dimension there are no rows."""
        return None if _dimension(rows) is not None else "it has no dimension; pass an array of several rows"

    def length(self, rows: Any) -> int:
        """Entries along the dimension; 0 where there is none."""
        dimension = _dimension(rows)
        return 0 if dimension is None else int(rows.sizes[dimension])

    def take(self, rows: Any, where: Any) -> Any:
        """By position."""
        return rows.isel({_dimension(rows): where})

    def join(self, parts: Sequence[Any], order: Any = None) -> Any:
        """One after the other."""
        joined = parts[0]
        if len(parts) > 1:
            only = {} if isinstance(joined, xarray.DataArray) else {"data_vars": "minimal"}
            joined = xarray.concat(
                parts,
                dim=_dimension(joined),
                coords="minimal",
                compat="override",
                join="override",
                combine_attrs="override",
                **only,
            )
        return joined if order is None else self.take(joined, order)

    def read(self, rows: Any) -> Mapping[str, Any]:
        """The values, and coordinates along the dimension, a row first."""
        dimension = _dimension(rows)
        return {
            name: np.moveaxis(np.asarray(value.values), value.dims.index(dimension), 0)
            for name, value in _variables(rows)
            if dimension in value.dims
        }

    def alike(self, rows: Any) -> Hashable:
        """Names, dimensions, attributes, types, and what has not the dimension."""
        dimension = _dimension(rows)
        said = frozenset((name, _kind(value, dimension)) for name, value in _variables(rows))
        name = str(rows.name) if isinstance(rows, xarray.DataArray) else ""  # a dataset's is a variable of it
        return dimension, name, str(rows.attrs), said

    def nbytes(self, rows: Any) -> int:
        """What it says itself."""
        return int(rows.nbytes)


def _dimension(rows: Any) -> Any:
    """The first dimension; of a dataset, the one that is first in most of its variables, and of several such
    the first by name, since variables have no order. None where there is none."""
    if isinstance(rows, xarray.DataArray):
        return rows.dims[0] if rows.dims else None
    first = Counter(value.dims[0] for value in rows.data_vars.values() if value.dims)
    return min(first, key=lambda name: (-first[name], str(name)), default=None)


def _variables(rows: Any) -> Iterator[tuple[str, Any]]:
    """Values and coordinates, by name."""
    if isinstance(rows, xarray.DataArray):
        yield "values of the array", rows.variable
        held = rows.coords
    else:
        held = rows.variables
    for name in held:
        yield str(name), held[name].variable if hasattr(held[name], "variable") else held[name]


def _kind(variable: Any, dimension: Any) -> Hashable:
    sizes = tuple([(name, size) for name, size in variable.sizes.items() if name != dimension])
    dtype = variable.dtype.kind if variable.dtype.kind in "US" else str(variable.dtype)
    whole = None if dimension in variable.dims else str(np.asarray(variable.values).tolist())
    return variable.dims, sizes, dtype, whole
