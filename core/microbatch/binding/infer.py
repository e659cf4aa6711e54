"""Find the batch in the arguments: how many tokens and requests, and how each leaf is cut.

Invariant: every leaf with rows has a rule: declared, or by a reading of the sizes that a proof confirms
before the batch is cut (`proof/`). Where nothing will be proven, an array that fits no count is an error that
names it, since a field that is dropped or replicated gives wrong answers silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from msgspec import Struct, structs

from microbatch.arrays.looks import is_array, size_of
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.row_types import has_rows, rows_of
from microbatch.binding.counts import BatchCounts, LeafCount
from microbatch.binding.integer_leaves import read_lengths, read_starts
from microbatch.binding.leaf_checks import CONSTANTS, check_arrays, check_constant, check_objects, count_axes
from microbatch.binding.leaf_parts import LeafCut
from microbatch.binding.paths import CallLeaves, Declared
from microbatch.binding.readings import Reading, Sized, first_reading, nth, readings_beside, readings_of
from microbatch.binding.rules import ROW_KINDS, TOKENS, Layout, Rule, requests
from microbatch.cutting.slices import BatchShape
from microbatch.errors import LayoutError, UncoveredArrayError
from microbatch.extend.device import Device
from microbatch.extend.protocols import Backend

REQUESTS = requests()


class Inference(Struct, frozen=True):
    """How far sizes are trusted where nothing is declared."""

    reading: int = 0
    """Which reading of the sizes is taken."""
    strict: bool = False
    """Whether nothing will be proven, so that whatever is ambiguous is an error."""
    given: BatchShape | None = None
    """The counts, where the caller said where to cut; None where the leaves alone say them."""


class Measured(Struct, frozen=True, kw_only=True):
    """What was found in the arguments."""

    shape: BatchShape
    """The counts of the batch."""
    cuts: tuple[LeafCut, ...]
    """The leaves that are cut, in order; every ubatch gets the others whole."""
    declared: bool
    """Whether everything that has rows is declared."""
    most_rows: int
    """Rows of the batch by the reading of the sizes that has most."""


def measure_batch(
    leaves: CallLeaves, declared: Declared | None, layout: Layout | None, device: Device, how: Inference
) -> Measured:
    """Find the batch; raises LayoutError for leaves that cannot be cut or do not fit together, NoReadingError
    where there is no such reading."""
    cuts, undeclared, unknown = _sorted_out(leaves, declared, device.backend)
    counts = _declared_counts(leaves, cuts, how.given)
    sized = [_sized(leaves.values[index], index) for index in undeclared]
    if how.given is not None and not counts.known():
        sized = [structs.replace(leaf, size=counts.real("tokens", leaf.size)) for leaf in sized]
    if how.strict or counts.known():
        fitting = _by_counts(leaves, sized, counts, strict=how.strict)
        if how.reading:
            taken = nth(readings_beside(sized, [cut.index for cut in fitting]), how.reading).cut
            fitting = [cut for cut in fitting if cut.index in taken]
        cuts += fitting
    elif sized:
        read = nth(readings_of(sized, leaves.spec), how.reading) if how.reading else first_reading(sized)
        cuts += _by_reading(counts, read)
    arguments = (*leaves.args, *leaves.kwargs.values())
    if not cuts and any(is_row_list(given) and not given for given in arguments):
        empty = BatchShape(num_tokens=0, num_requests=0)  # a list of no texts
        return Measured(shape=empty, cuts=(), declared=False, most_rows=0)
    check_arrays(leaves, cuts, device)
    shape = counts.shape()
    check_objects(leaves, unknown, frozenset({shape.num_tokens, shape.num_requests}))
    if layout is not None and layout.lengths is not None:
        shape = replace(shape, lengths=read_lengths(layout.lengths, leaves, shape))
    return Measured(
        shape=shape,
        cuts=tuple(sorted(cuts, key=lambda cut: cut.index)),
        declared=not sized,
        most_rows=max([shape.num_tokens, *[leaf.size for leaf in sized if leaf.is_array]]),
    )


def _sorted_out(
    leaves: CallLeaves, declared: Declared | None, backend: Backend
) -> tuple[list[LeafCut], list[int], list[int]]:
    """The leaves that a declared rule cuts; of the undeclared, those with a size and those of other types."""
    cuts: list[LeafCut] = []
    undeclared: list[int] = []
    unknown: list[int] = []
    for index, leaf in enumerate(leaves.values):
        rule, own = declared[index] if declared else (None, False)
        if rule is not None and (own or not is_row_list(leaf)):  # a rule of a container is for its arrays
            settled = _settled(leaves, index, rule, backend, own=own)
            if settled is not None:
                cuts.append(LeafCut(index, settled))
        elif has_rows(leaf) or (is_array(leaf) and count_axes(leaves, index, backend)):
            undeclared.append(index)
        elif type(leaf) not in CONSTANTS and not is_array(leaf):
            check_constant(leaves, index)
            unknown.append(index)
    return cuts, undeclared, unknown


def _sized(leaf: Any, index: int) -> Sized:
    rows = rows_of(leaf)
    if rows is not None:
        return Sized(index, rows.length(leaf), is_array=not is_row_list(leaf), square=False, flat=True)
    shape = leaf.shape
    square = len(shape) > 1 and shape[1] == shape[0]
    return Sized(index, shape[0], is_array=True, square=square, flat=len(shape) == 1)


def _settled(leaves: CallLeaves, index: int, rule: Rule, backend: Backend, *, own: bool) -> Rule | None:
    """`rule` with its axes counted from the first; None where every ubatch gets the leaf as it is.

    `own` says that the rule names this very leaf, and not a container of it.
    """
    leaf = leaves.values[index]
    if rule.kind == "replicate" or leaf is None:
        return None
    if rule.kind == "per_ubatch":
        return rule
    if has_rows(leaf) and rule.kind not in ROW_KINDS:
        raise LayoutError(
            f"{leaves.name(index)} is a {type(leaf).__name__} and cannot be cut by {rule}; pass an array"
        )
    axes = 1 if has_rows(leaf) else count_axes(leaves, index, backend) if is_array(leaf) else 0
    if axes == 0:
        if not own and rule.kind in ROW_KINDS:
            return None
        kind = "0-dimensional" if is_array(leaf) else f"a {type(leaf).__name__}"
        raise LayoutError(
            f"{leaves.name(index)} is {kind} and cannot be cut by {rule}; declare it replicate()"
        )
    for what, axis in (("axis", rule.axis), ("trim", rule.trim or 0)):
        if not -axes <= axis < axes:
            plural = "dimension" if axes == 1 else "dimensions"
            raise LayoutError(
                f"{leaves.name(index)} has {axes} {plural}, so {what}={axis} does not exist; correct its rule"
            )
    axis, trim = rule.axis % axes, None if rule.trim is None else rule.trim % axes
    if axis == trim:
        raise LayoutError(
            f"{leaves.name(index)} has axis {axis} both cut and trimmed; trim the axis of padded columns"
        )
    settled = replace(rule, axis=axis, trim=trim)
    return TOKENS if settled == TOKENS else settled


def _declared_counts(leaves: CallLeaves, cuts: Sequence[LeafCut], given: BatchShape | None) -> BatchCounts:
    """What the declared leaves say. Starts come first: they give both counts, and the others must agree."""
    counts = BatchCounts(leaves, given=given)
    for cut in cuts:
        if cut.rule.kind == "query_start_loc":
            counts.take_starts(cut.index, read_starts(leaves.values[cut.index], leaves.name(cut.index)))
    for cut in cuts:
        kind, leaf = cut.rule.kind, leaves.values[cut.index]
        if kind in ("seq_lens", "computed_tokens"):
            counts.needs_starts = cut.index
        if kind not in ("query_start_loc", "per_ubatch"):
            size = size_of(leaf) if has_rows(leaf) else int(leaf.shape[cut.rule.axis])
            assert size is not None, "what is cut has rows"
            counts.take(
                "tokens" if kind == "tokens" else "requests", LeafCount(size, cut.index, cut.rule.axis)
            )
    return counts


def _by_counts(
    leaves: CallLeaves, sized: Sequence[Sized], counts: BatchCounts, *, strict: bool
) -> list[LeafCut]:
    """How undeclared leaves are cut where counts are known: by the size of their first axis.

    Where nothing is proven afterwards, an array of another size is an error, since it could be a field that a
    mistake made shorter.
    """
    cuts = []
    for leaf in sorted(sized, key=lambda leaf: not leaf.is_array):
        count = LeafCount(leaf.size, leaf.index)
        if not counts.known():
            counts.take("tokens", count)
        unit = counts.unit_of(leaf.size)
        if unit is not None and strict and not leaf.is_array:
            name = leaves.name(leaf.index)
            raise UncoveredArrayError(
                f"{name} has as many entries as the batch has {unit}; declare it {unit}() or replicate()"
            )
        if unit is not None:
            cuts.append(LeafCut(leaf.index, TOKENS if unit == "tokens" else REQUESTS))
        elif counts.ambiguous(leaf.size) or (strict and leaf.is_array):
            raise UncoveredArrayError(counts.misfit(count))
    return cuts


def _by_reading(counts: BatchCounts, read: Reading) -> list[LeafCut]:
    """How undeclared leaves are cut by one reading."""
    counts.take("tokens", LeafCount(read.rows, min(read.cut)))
    return [LeafCut(index, TOKENS) for index in sorted(read.cut)]
