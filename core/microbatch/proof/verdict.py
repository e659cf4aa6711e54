"""What is known of a function for one structure of its calls, and the rows to compare with its first step.

Invariant: a verdict holds no array. The rows that an experiment computed are compared once with the same rows
of the step's own result, so that what differs only at the real size is found too, and are let go then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from microbatch.arrays.comparing import far_apart, same_rows
from microbatch.arrays.looks import along, is_shaped
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.row_types import rows_of
from microbatch.arrays.trees import leaf_paths, output_name
from microbatch.binding.leaf_parts import Rows as Numbers
from microbatch.binding.proven import ProvenOutputs
from microbatch.binding.rules import ROW_KINDS
from microbatch.extend.device import Device
from microbatch.extend.protocols import Rows
from microbatch.proof.host_values import HostValues
from microbatch.proof.output_kinds import Seen, alike
from microbatch.proof.shown import Shown


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether calls of one structure may be cut."""

    reading: int = 0
    """Which reading of the sizes was shown to be right."""
    outputs: ProvenOutputs | None = None
    """What the outputs are; None where nothing was tried, so that the layout and sizes say it."""
    why_whole: str = ""
    """Why they must not be cut; empty where they may."""
    why_sequential: str = ""
    """Why their parts must not overlap; empty where they may."""
    shares_memory: bool = False
    """Whether calls that overlap would return the same memory, so that rows would be lost."""
    unmakeable: str = ""
    """Why no result can be made, so that parts need a place of the caller's; empty where it can."""
    fewest: int = 1
    """Fewest rows of a call that was tried; with fewer it may raise, as what fits a curve does."""
    picky: bool = False
    """Whether it raised for some numbers of rows, and may do so for those of a part."""
    writes_inputs: bool = False
    """Whether it writes into its inputs, so that it cannot be called again on them."""
    raised: bool = False
    """Whether all that was seen is that the function raises on a few rows, which it may not do again."""
    provisional: bool = False
    """Whether all rows that were tried were alike (all zeros), so that it holds for such rows only."""
    blind: bool = False
    """Whether an output had the same entry for several rows, and no step has told them apart yet."""
    plain: bool = False
    """Whether there is nothing to take into account: the likeliest reading, any schedule, any size."""


TRUSTED = Verdict(plain=True)
"""What is declared, or is to be taken as the sizes say it."""

UNTRIED = Verdict(
    why_whole="several ranks run each step together, so it is not tried on a few rows whether they are"
    " independent (pass verify='never' if they are, or ranks='independent' if it does not communicate)"
)
"""What is not declared where ranks run steps together."""


class StepOutput(Struct, frozen=True):
    """One output leaf of a step, to take rows out of."""

    name: str
    """How messages call it."""
    seen: Seen
    """What the experiment has shown of it."""
    leaf: Any
    """The leaf."""
    device: Device
    """Where the step ran."""
    given: bool
    """Whether it is in a place of the caller's, which has names and labels of its own."""

    @property
    def joiner(self) -> Rows | None:
        """What takes its rows, where it is no array."""
        return None if self.given and is_shaped(self.leaf) else rows_of(self.leaf)

    @property
    def total(self) -> int:
        """How many rows it has."""
        rows = self.joiner
        return int(self.leaf.shape[self.seen.rule.axis]) if rows is None else rows.length(self.leaf)

    def rows_at(self, places: Sequence[int] | Numbers) -> Any:
        """The rows at `places`: an array of the host with the rows first, a list, or a table."""
        rows = self.joiner
        if rows is not None:
            found = rows.take(self.leaf, np.asarray(places, np.int64))
            return list(found) if is_row_list(self.leaf) else found
        axis = self.seen.rule.axis
        return np.moveaxis(HostValues(self.device)(_taken(self.leaf, places, axis, self.device)), axis, 0)

    def agrees(self, places: Sequence[int] | Numbers) -> bool:
        """Whether the leaf has what was seen; its rows at `places`, where it has rows."""
        read, expected = HostValues(self.device), self.seen.values
        if self.seen.rule.kind not in ROW_KINDS:
            return alike(expected, self.leaf, read)
        if self.joiner is None and not is_shaped(self.leaf):
            return False
        found = self.rows_at(places)
        if self.joiner is not None:
            return same_rows(expected, found, lambda one, other: alike(one, other, read), labels=False)
        expected = np.asarray(expected)  # a column that went into a place of the caller's
        return found.shape == expected.shape and not far_apart(expected, found, self.seen.rounding).any()


class Evidence(Struct, frozen=True):
    """Rows that an experiment computed, to be found again in the result of the step."""

    shown: Shown
    """The experiment."""

    @property
    def rows(self) -> int:
        """Rows of the largest call."""
        return self.shown.sample.witness.shape.num_tokens

    @property
    def first_row(self) -> int:
        """The first row of the batch that was tried."""
        return int(np.min(self.shown.sample.tokens))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each call."""
        parts = self.shown.sample.cut.slices
        return (*(part.num_tokens for part in parts), self.rows)

    def contradiction(self, result: Any, device: Device, *, given: bool = False) -> str:
        """Which output of the step has another row; empty where all are as they were shown.

        `given` says that the result is in the caller's own places, which have names and labels of their own.
        """
        try:
            outputs = self.outputs_of(result, device, given=given)
        except ValueError:
            return "the output has another structure than on a few rows"
        sample = self.shown.sample
        for output in outputs:
            places = sample.tokens if output.seen.rule.kind == "tokens" else sample.requests
            if not output.agrees(places):
                return f"{output.name} of the same rows is another at the size of the step than on a few rows"
        return ""

    def outputs_of(self, result: Any, device: Device, *, given: bool) -> list[StepOutput]:
        """The leaves of the step's result of which something was seen; ValueError for another structure."""
        spec = self.shown.outputs.spec
        names = map(output_name, leaf_paths(spec))
        each = zip(names, self.shown.seen, spec.flatten_up_to(result), strict=True)
        return [
            StepOutput(name, seen, leaf, device, given)
            for name, seen, leaf in each
            if seen.values is not None
        ]


def _taken(result: Any, places: Any, axis: int, device: Device) -> Any:
    """The rows at `places`; of a caller's file or table one by one, as it may be larger than memory."""
    backend = device.owners.of(result)
    if isinstance(result, np.ndarray) or backend.owns(result):
        return backend.take(result, places, axis)
    items = getattr(result, "iloc", result)  # by position: a column takes numbers for labels
    rows = [np.asarray(items[along(axis, slice(place, place + 1))]) for place in np.asarray(places).tolist()]
    return np.concatenate(rows, axis)
