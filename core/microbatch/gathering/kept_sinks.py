"""Output leaves that are not simply rows: constants, reductions, padded rows, doubtful rows.

Invariant: as in `row_sink.py`. Every part is kept until the end, so these are for the small or declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct

from microbatch.arrays.comparing import equal_values
from microbatch.arrays.looks import along, describe_constant, is_array, kind_of
from microbatch.arrays.memory import version_of
from microbatch.arrays.shared_memory import check_apart
from microbatch.binding.rules import Rule
from microbatch.errors import OutputMismatchError
from microbatch.gathering.row_places import RowPlaces
from microbatch.gathering.row_sink import OutputLeaf, Sink, mismatch

MakeRows = Callable[[Any, int], Sink]
"""make(part, index) -> sink for rows like those of `part`, which ubatch `index` returned."""


class Keep:
    """Keeps what each ubatch returned, in row order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._kept: dict[int, tuple[Any, int | None]] = {}

    def write(self, index: int, part: Any) -> None:
        """Take what ubatch `index` returned."""
        self._kept[index] = part, version_of(part) if is_array(part) else None

    def given_up(self) -> tuple[list[Any], list[int | None]]:
        """What was kept, and how often its memory had been written when it came; kept no longer."""
        kept, self._kept = self._kept, {}
        values, versions = zip(*map(kept.__getitem__, sorted(kept)), strict=True)
        return list(values), list(versions)


class KeptParts(Struct, frozen=True):
    """What a ubatch that ran in several parts returned, for the sink of the whole step."""

    values: tuple[Any, ...]
    """One value per part, in row order."""
    versions: tuple[int | None, ...]
    """How often the memory of each had been written when it came."""
    weights: tuple[int, ...]
    """Tokens of each part."""


class KeptSink(Keep):
    """`collect()` and `reduce(fn)`; a `nested` one leaves the combining to the sink it is stored into."""

    def __init__(
        self, name: str, rule: Rule, weights: Callable[[], Sequence[int]], *, nested: bool = False
    ) -> None:
        """`weights()` are the tokens of each part, asked when all of them are there."""
        super().__init__(name)
        self.rule = rule
        self.weights = weights
        self.nested = nested

    def finish(self) -> Any:
        """The list of values, or what the rule's function makes of it."""
        values: list[Any] = []
        versions: list[int | None] = []
        weights: list[int] = []
        for value, version, weight in zip(*self.given_up(), self.weights(), strict=True):
            if not weight:
                continue  # padding alone, which is no part of the batch
            kept = value if isinstance(value, KeptParts) else KeptParts((value,), (version,), (weight,))
            values += kept.values
            versions += kept.versions
            weights += kept.weights
        check_apart(self.name, values, versions)
        if self.nested:
            return KeptParts(tuple(values), tuple(versions), tuple(weights))
        return values if self.rule.function is None else self.rule.function(values, weights)


class ConstantSink(Keep):
    """A leaf without rows: all ubatches must return the same."""

    def finish(self) -> Any:
        """The value; raises OutputMismatchError where two ubatches disagree."""
        found, versions = self.given_up()
        check_apart(self.name, found, versions, constant=True)
        first = found[0]
        for index, value in enumerate(found[1:], 1):
            if value is first:
                continue
            if is_array(value) != is_array(first) or (value is None) != (first is None):
                raise mismatch(self.name, index, kind_of(value), 0, kind_of(first))
            if not equal_values(first, value):
                raise OutputMismatchError(
                    f"constant {self.name} differs: {describe_constant(first)} in ubatch 0, "
                    f"{describe_constant(value)} in ubatch {index}; declare the output reduce(fn) or "
                    "collect(), or tokens() for a list with an entry per row"
                )
        return first


class DoubtfulSink(Keep):
    """Rows of which the sizes seen first do not say whether they are tokens or requests."""

    def __init__(self, name: str, choices: Sequence[tuple[RowPlaces, MakeRows]]) -> None:
        super().__init__(name)
        self.choices = choices

    def finish(self) -> Any:
        """The rows, by the one unit that fits all ubatches; OutputMismatchError where none or both do."""
        values, versions = self.given_up()
        sizes = tuple(value.shape[0] if is_array(value) and len(value.shape) else -1 for value in values)
        fitting = [make for places, make in self.choices if places.counts == sizes]
        if len(fitting) != 1:
            fit = "neither tokens nor requests" if not fitting else "tokens and requests alike"
            raise OutputMismatchError(
                f"{self.name} has rows that fit {fit} ({sizes} in the ubatches); declare the output tokens() "
                "or requests()"
            )
        check_apart(self.name, values, versions)
        return _in_place(fitting[0], values)


class PaddedSink(Keep):
    """Rows of which a padded axis was trimmed: brought to one width with zeros, then put in their place."""

    def __init__(self, leaf: OutputLeaf, padded: tuple[int, int | None], make: MakeRows) -> None:
        """`padded` is the axis that was trimmed, and its width in the inputs."""
        super().__init__(leaf.name)
        self.trim, self.width = padded
        self.backend = leaf.backend
        self.make = make

    def write(self, index: int, part: Any) -> None:
        """Take the rows of ubatch `index`."""
        if not is_array(part) or len(part.shape) <= self.trim:
            raise mismatch(self.name, index, kind_of(part), 0, f"rows with a padded axis {self.trim}")
        super().write(index, part)

    def finish(self) -> Any:
        """The rows at full width."""
        values, versions = self.given_up()
        check_apart(self.name, values, versions)
        width = max(self.width or 0, *[value.shape[self.trim] for value in values])
        values.reverse()  # taken from the end, so that each part is let go when it is in its place
        return _in_place(self.make, (self._padded(values.pop(), width) for _ in versions))

    def _padded(self, part: Any, width: int) -> Any:
        missing = width - part.shape[self.trim]
        if missing == 0:
            return part
        shape = (*part.shape[: self.trim], missing, *part.shape[self.trim + 1 :])
        zeros = self.backend.empty(shape, part)
        zeros[along(0, slice(None))] = 0
        return self.backend.concatenate((part, zeros), self.trim)


def _in_place(make: MakeRows, parts: Iterable[Any]) -> Any:
    """The rows of all parts, of which there is at least one, written into one result."""
    sink: Sink | None = None
    for index, part in enumerate(parts):
        sink = sink or make(part, index)
        sink.write(index, part)
    assert sink is not None
    return sink.finish()
