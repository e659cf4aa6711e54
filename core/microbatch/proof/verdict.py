"""What is known of a function for one structure of its calls, and the rows to compare with its first step.

Invariant: a verdict holds no array. The rows that an experiment computed are compared once with the same rows
of the step's own result, so that what differs only at the real size is found too, and are let go then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from microbatch.arrays.comparing import far_apart, same_rows
from microbatch.arrays.looks import along, is_shaped
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.row_types import rows_of
from microbatch.arrays.trees import leaf_paths, output_name
from microbatch.binding.proven import ProvenOutputs
from microbatch.extend.device import Device
from microbatch.proof.host_values import HostValues
from microbatch.proof.output_kinds import Seen, alike
from microbatch.proof.shown import Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
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
    picky: bool = False
    """Whether it raised for some numbers of rows, and may do so for those of a part."""
    writes_inputs: bool = False
    """Whether it writes into its inputs, so that it cannot be called again on them."""
    raised: bool = False
    """Whether all that was seen is that the function raises on a few rows, which it may not do again."""
    provisional: bool = False
    """Whether all rows that were tried were alike (all zeros), so that it holds for such rows only."""
    plain: bool = False
    """Whether there is nothing to take into account: the likeliest reading, any schedule, any size."""


TRUSTED = Verdict(plain=True)
"""What is declared, or is to be taken as the sizes say it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Rows that an experiment computed, to be found again in the result of the step."""

    shown: Shown
    """The experiment."""

    @property
    def rows(self) -> int:
        """Rows of the largest call."""
        return self.shown.sample.witness.shape.num_tokens

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each call."""
        parts = self.shown.sample.cut.slices
        return (*(part.num_tokens for part in parts), self.rows)

    def contradiction(self, result: Any, device: Device, *, given: bool = False) -> str:
        """Which output of the step has another row; empty where all are as they were shown.

        `given` says that the result is in the caller's own places, which have names and labels of their own.
        """
        outputs = self.shown.outputs
        try:
            leaves = outputs.spec.flatten_up_to(result)
        except ValueError:
            return "the output has another structure than on a few rows"
        names = [output_name(path) for path in leaf_paths(outputs.spec)]
        for name, seen, leaf in zip(names, self.shown.seen, leaves, strict=True):
            if seen.values is not None and not self._found(seen, leaf, device, given):
                return f"{name} of the same rows is another at the size of the step than on a few rows"
        return ""

    def _found(self, seen: Seen, leaf: Any, device: Device, given: bool) -> bool:
        """Whether the rows are in the result as they were seen."""
        read = HostValues(device)
        if seen.rule.kind == "replicate":
            return alike(seen.values, leaf, read)
        sample, expected = self.shown.sample, seen.values
        places: Sequence[int] = sample.tokens if seen.rule.kind == "tokens" else sample.requests
        rows = rows_of(leaf)
        if rows is not None and not (given and is_shaped(leaf)):
            found = rows.take(leaf, np.asarray(places, np.int64))
            found = list(found) if is_row_list(leaf) else found
            return same_rows(expected, found, lambda one, other: alike(one, other, read), labels=False)
        if not is_shaped(leaf):
            return False
        expected = np.asarray(expected)  # a column that went into a place of the caller's
        found = np.moveaxis(read(_taken(leaf, places, seen.rule.axis, device)), seen.rule.axis, 0)
        return found.shape == expected.shape and not far_apart(expected, found, seen.rounding).any()


def _taken(result: Any, places: Any, axis: int, device: Device) -> Any:
    """The rows at `places`; of a caller's file or table one by one, as it may be larger than memory."""
    backend = device.owners.of(result)
    if isinstance(result, np.ndarray) or backend.owns(result):
        return backend.take(result, places, axis)
    items = getattr(result, "iloc", result)  # by position: a column takes numbers for labels
    rows = [np.asarray(items[along(axis, slice(place, place + 1))]) for place in np.asarray(places).tolist()]
    return np.concatenate(rows, axis)
