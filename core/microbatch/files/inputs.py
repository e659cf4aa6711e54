"""The arguments of one step, from rows of a file.

Invariant: a list of texts is packed by length, since that is where padding is saved; arrays are views of what
was read or mapped, so a batch may be bigger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from microbatch.binding.rules import Layout, tokens
from microbatch.errors import InputFileError, near_match
from microbatch.files.source import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The batch of a file, or a block of its rows."""

    args: tuple[Any, ...] = ()
    """Positional arguments of the step."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments by name, from several columns or arrays whose names are parameters."""
    rows: int
    """Rows of the batch."""
    layout: Layout | None = None
    """How to cut them where shapes do not say it; None for arrays."""
    source: Origin
    """The file."""
    carried: Mapping[str, Any] = field(default_factory=dict)
    """Columns that go to the output beside the result."""

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
        return self.chosen(np.linspace(0, self.rows - 1, rows).astype(np.int64))

    def part(self, start: int, stop: int) -> Inputs:
        """The rows from `start` to `stop`; an array of other length stays whole."""
        return self._each(lambda value: value[start:stop], stop - start)

    def chosen(self, rows: np.ndarray[Any, Any]) -> Inputs:
        """These rows."""
        return self._each(lambda value: _taken(value, rows), len(rows))

    def _each(self, cut: Any, rows: int) -> Inputs:
        def of(value: Any) -> Any:
            return cut(value) if self._has_rows(value) else value

        return replace(
            self,
            args=tuple(of(value) for value in self.args),
            kwargs={name: of(value) for name, value in self.kwargs.items()},
            carried={name: cut(value) for name, value in self.carried.items()},
            rows=rows,
        )

    def _has_rows(self, value: Any) -> bool:
        return isinstance(value, list) or bool(getattr(value, "ndim", 0) and len(value) == self.rows)


def of_columns(source: Origin, columns: Mapping[str, Any], rows: int) -> Inputs:
    """The arguments of some columns, each a list or an array: one goes by position, several by name."""
    layout = text_layout(columns)
    if len(columns) == 1:
        return Inputs(source=source, args=tuple(columns.values()), rows=rows, layout=layout)
    return Inputs(source=source, kwargs=dict(columns), rows=rows, layout=layout)


def text_layout(columns: Mapping[str, Any]) -> Layout | None:
    """How one column of texts alone is packed; sizes say how everything else is cut."""
    values = list(columns.values())
    if len(values) != 1 or not isinstance(values[0], list) or not all(isinstance(v, str) for v in values[0]):
        return None
    return Layout(inputs={"0": tokens()}, lengths=_text_lengths)


def _text_lengths(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int]:
    """Characters of each row; an empty one counts as one, since a model adds its marks to it."""
    return [max(1, len(text)) for text in args[0]]


def _taken(value: Any, rows: np.ndarray[Any, Any]) -> Any:
    return [value[row] for row in rows] if isinstance(value, list) else value[rows]
