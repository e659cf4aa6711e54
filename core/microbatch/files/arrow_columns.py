"""From a column of Arrow to an argument: a list of texts, an array, or a list of Python's values.

Invariant: a column comes out alike in every block: which of the three it is follows from its type, and lists
become an array only where all of them, over all rows, are equally long. A missing value is an error that
names the row, since no array could hold it without becoming another type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from microbatch.errors import InputFileError
from microbatch.files.source import Origin


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an input, and how its values come out."""

    source: Origin
    """Of which input."""
    name: str
    """Its name."""
    arrow: Any
    """The module `pyarrow`."""

    def check(self, values: Any, first: int, width: int | None) -> int | None:
        """Look at some values, of which the first is in row `first`; returns how long their lists are.

        `width` is the length of the lists before. Raises InputFileError for what `values` could not give.
        """
        values = self._plain(values)
        self._refuse_gaps(values, first, 1)
        if not self._is_listed(values.type):
            return None
        compute = self._compute
        lengths = compute.unique(compute.list_value_length(values)).to_pylist()
        for length in lengths:
            if width is not None and length != width:
                raise self._no_array(f"lists of {width} and of {length} values")
            width = length
        self._refuse_gaps(compute.list_flatten(values), first, max(1, width or 1))
        return width

    def values(self, values: Any) -> list[Any] | np.ndarray[Any, Any]:
        """The values as an argument; of lists, all are equally long."""
        values, types = self._plain(values), self.arrow.types
        if self._is_text(values.type) or types.is_struct(values.type) or types.is_map(values.type):
            return list(values.to_pylist())
        if not self._is_listed(values.type):
            return self._numbers(values, values.type)
        shape = [len(values)]
        kind = values.type
        while self._is_listed(values.type):
            inner = self._plain(self._compute.list_flatten(values))
            shape.append(len(inner) // len(values) if len(values) else 0)
            values = inner
        return self._numbers(values, kind).reshape(shape)

    @property
    def _compute(self) -> Any:
        from importlib import import_module

        return import_module("pyarrow.compute")

    def _plain(self, values: Any) -> Any:
        """Without chunks and dictionaries; views as what they are views of."""
        types = self.arrow.types
        if isinstance(values, self.arrow.ChunkedArray):
            values = values.combine_chunks()
            if isinstance(values, self.arrow.ChunkedArray):  # texts of more than 2 GB
                values = self.arrow.concat_arrays(values.chunks)
        if types.is_dictionary(values.type):
            return self._plain(values.dictionary_decode())
        if isinstance(values, self.arrow.ExtensionArray):
            return self._plain(values.storage)
        if _is(types, "is_list_view", values.type) or _is(types, "is_large_list_view", values.type):
            # by way of Python: pyarrow 26 casts a slice of such an array to lists of wrong lengths
            return self.arrow.array(values.to_pylist(), self.arrow.large_list(values.type.value_type))
        return values

    def _is_text(self, kind: Any) -> bool:
        types = self.arrow.types
        return bool(
            types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)
            or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
            or _is(types, "is_string_view", kind) or _is(types, "is_binary_view", kind)
        )  # fmt: skip

    def _is_listed(self, kind: Any) -> bool:
        types = self.arrow.types
        return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))

    def _numbers(self, values: Any, kind: Any) -> np.ndarray[Any, Any]:
        array = np.asarray(values.to_numpy(zero_copy_only=False))
        if array.dtype.hasobject:
            raise self._no_array(str(kind))
        return array

    def _no_array(self, kind: str) -> InputFileError:
        return InputFileError(
            f"{self.source.path}: column {self.name!r} is {kind}, which is no array; choose a column of "
            "text, "
            "numbers or lists of one fixed size"
        )

    def _refuse_gaps(self, values: Any, first: int, width: int) -> None:
        """Raise for a missing value; `width` values make a row."""
        if values.null_count:
            row = first + values.is_null().to_pylist().index(True) // width
            raise InputFileError(
                f"{self.source.path}: column {self.name!r} has no value in row {row}; fill or drop such rows"
            )


def _is(types: Any, test: str, kind: Any) -> bool:
    """Ask what older versions of pyarrow have no word for."""
    asked = getattr(types, test, None)
    return asked is not None and bool(asked(kind))
