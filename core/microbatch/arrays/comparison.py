"""Where an output differs from the expected one: the first row, and the two values.

Invariant: two outputs are told apart by what `comparing.py` says of their entries, so that a difference which
is named is one. Of a table the column is named with the values.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from microbatch.arrays.comparing import (
    RELATIVE,
    HostArray,
    close_entries,
    equal_values,
    far_apart,
    magnitudes,
    quietly,
    rounding_of,
    same_rows,
    wide,
)
from microbatch.arrays.looks import is_array
from microbatch.arrays.row_types import has_rows, rows_of
from microbatch.arrays.trees import TreeSpec, leaf_paths, output_name
from microbatch.options.messages import shorten

LONGEST = 60
"""Characters of a value that a difference shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where the output of the cut batch is not that of the whole batch."""

    path: str
    """The output leaf, such as `output['h']`; empty when the call itself failed."""
    row: int | None
    """First row that differs; None when it is not a matter of rows."""
    whole: str
    """The value there from the whole batch."""
    parts: str
    """The value there from the ubatches, or the error."""
    cut: str
    """How the batch was cut."""

    def __str__(self) -> str:
        place = f"{self.path}, row {self.row}" if self.row is not None else self.path
        both = f"{self.whole} from the whole batch, {self.parts} from the parts"
        return f"{place + ': ' if place else ''}{both if self.whole else self.parts} ({self.cut})"


class Comparison:
    """Compares any number of outputs with the leaves `expected` of the structure `spec`.

    `rtol` is relative to the value, None takes the default of each dtype; `atol` is absolute, None takes
    `rtol` times the mean magnitude of the leaf.
    """

    __slots__ = ("_atol", "_expected", "_names", "_rtol", "_spec", "absolute", "relative", "unknown")

    def __init__(
        self, spec: TreeSpec, expected: list[Any], rtol: float | None = None, atol: float | None = None
    ) -> None:
        self._spec = spec
        self._expected = expected
        self._names = [output_name(path) for path in leaf_paths(spec)]
        self._rtol, self._atol = rtol, atol
        self.unknown = {
            name for name, leaf in zip(self._names, expected, strict=True) if not _comparable(leaf)
        }
        """Leaves of other types than arrays and plain values; two of them need not compare as equal."""
        self.absolute = 0.0
        """Largest absolute difference so far between numbers that counted as equal."""
        self.relative = 0.0
        """The same, divided by the largest magnitude of the leaf."""

    def differences(self, output: Any, label: str, skip: Collection[int] = ()) -> list[Difference]:
        """The first difference of each leaf of `output` that has one; `label` says how it was made.

        `skip` are the numbers of leaves that are not compared.
        """
        try:
            leaves = self._spec.flatten_up_to(output)
        except ValueError:
            return [Difference(path="output", row=None, whole="", parts="has another structure", cut=label)]
        differences = []
        for index, (name, leaf) in enumerate(zip(self._names, leaves, strict=True)):
            unequal = None if index in skip else self._unequal(self._expected[index], leaf)
            if unequal is not None:
                row, whole, parts = unequal
                differences.append(
                    Difference(path=name, row=row, whole=_shown(whole), parts=_shown(parts), cut=label)
                )
        return differences

    def _unequal(self, expected: Any, found: Any) -> tuple[int | None, Any, Any] | None:
        """The row and the two values where two leaves differ first; None where they are equal."""
        if has_rows(expected):
            rtol = self._rtol or RELATIVE["float32"]
            equal = same_rows(expected, found, lambda one, other: close_entries(one, other, rtol))
            return None if equal else _first_entry(expected, found, rtol)
        if not is_array(expected) or not is_array(found):
            return None if equal_values(expected, found) else (None, expected, found)
        if str(expected.dtype) != str(found.dtype):
            return None, expected.dtype, found.dtype
        if tuple(expected.shape) != tuple(found.shape):
            return None, tuple(expected.shape), tuple(found.shape)
        whole, parts = wide(expected), wide(found)
        far = self._far(whole, parts, rounding_of(expected))
        if not far.any():
            return None
        place = tuple(np.argwhere(far)[0].tolist())
        return place[0] if place else None, whole[place], parts[place]

    def _far(self, expected: HostArray, found: HostArray, default: float) -> HostArray:
        """Which entries differ by more than rounding; `default` is the relative tolerance of the dtype."""
        far = far_apart(expected, found, default if self._rtol is None else self._rtol, self._atol)
        if expected.dtype.kind in "fc" and expected.size and not far.any():
            gap = quietly(lambda: np.abs(expected - found))
            largest = float(np.where(np.isfinite(gap), gap, 0.0).max())  # else both are NaN, or one infinity
            self.absolute = max(self.absolute, largest)
            self.relative = max(self.relative, largest / float(magnitudes(expected).max() or 1.0))
        return far


def _comparable(leaf: Any) -> bool:
    """Whether it is an array or a plain value, of which two calls may return equal ones."""
    return (
        is_array(leaf)
        or has_rows(leaf)
        or leaf is None
        or isinstance(leaf, (int, float, complex, str, bytes))
    )


def _first_entry(first: Any, second: Any, rtol: float) -> tuple[int | None, Any, Any]:
    """The row where two tables differ first, and the column with the two entries; else the tables."""
    rows = rows_of(first)
    if rows is not None and type(first) is type(second) and rows.alike(first) == rows.alike(second):
        other = rows.read(second)
        for name, column in rows.read(first).items():
            row = _first_apart(column, other.get(name, ()), rtol)
            if row is not None:
                named = _column(first, name)
                return row, {named: _plain(column[row])}, {named: _plain(other[name][row])}
    return None, first, second


def _first_apart(first: Any, second: Any, rtol: float) -> int | None:
    """The first entry of a column that differs; None where lengths differ, too."""
    if len(first) != len(second):
        return None
    if is_array(first) and is_array(second) and first.dtype == second.dtype and first.dtype.kind in "fc":
        return next(iter(np.argwhere(far_apart(wide(first), wide(second), rtol))[:, 0].tolist()), None)
    pairs = enumerate(zip(first, second, strict=True))
    return next((row for row, (one, two) in pairs if not close_entries(one, two, rtol)), None)


def _column(table: Any, name: str) -> str:
    """What the table calls a column; pandas, whose names may come twice, is read by their places."""
    columns = getattr(table, "columns", ())
    return str(columns[int(name)]) if name.isdigit() and int(name) < len(columns) else name


def _plain(entry: Any) -> Any:
    return entry.item() if isinstance(entry, np.generic) else entry


def _shown(value: Any) -> str:
    return shorten(str(value.item() if isinstance(value, np.generic) else value), LONGEST)
