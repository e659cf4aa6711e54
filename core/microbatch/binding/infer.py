"""Find the batch in the arguments: how many tokens and requests, and how each leaf is cut.

Invariant: every array with rows has a rule, declared or told by its size where that is unambiguous. An array
that no rule covers is an error that names it, since a field that is dropped or replicated gives wrong answers
silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from microbatch.arrays.looks import is_array
from microbatch.binding.counts import BatchCounts, LeafCount
from microbatch.binding.integer_leaves import read_lengths, read_starts
from microbatch.binding.leaf_checks import check_arrays, check_constant, count_axes
from microbatch.binding.leaf_parts import LeafCut
from microbatch.binding.paths import CallLeaves, Declared
from microbatch.binding.rules import ROW_KINDS, Layout, Rule, requests, tokens
from microbatch.cutting.slices import BatchShape
from microbatch.errors import LayoutError, UncoveredArrayError
from microbatch.extend.protocols import Backend

TOKENS = tokens()
"""The rule of rows along axis 0; always this very object, so `is` recognises it."""
REQUESTS = requests()


def measure_batch(
    leaves: CallLeaves, declared: Declared | None, layout: Layout | None, backend: Backend
) -> tuple[BatchShape, tuple[LeafCut, ...]]:
    """The counts of the batch and the leaves that are cut, in order; every ubatch gets the others whole.

    Raises LayoutError for leaves that cannot be cut or do not fit together.
    """
    cuts, undeclared = _sorted_out(leaves, declared, backend)
    counts = _declared_counts(leaves, cuts)
    cuts += _inferred(leaves, undeclared, counts)
    check_arrays(leaves, cuts, backend)
    shape = counts.shape()
    if layout is not None and layout.lengths is not None:
        shape = replace(shape, lengths=read_lengths(layout.lengths, leaves, shape))
    return shape, tuple(sorted(cuts, key=lambda cut: cut.index))


def _sorted_out(
    leaves: CallLeaves, declared: Declared | None, backend: Backend
) -> tuple[list[LeafCut], list[int]]:
    """The leaves that a declared rule cuts, and the numbers of the arrays with rows that no rule names."""
    cuts: list[LeafCut] = []
    undeclared: list[int] = []
    for index, leaf in enumerate(leaves.values):
        rule, own = declared[index] if declared else (None, False)
        if rule is not None:
            settled = _settled(leaves, index, rule, backend, own=own)
            if settled is not None:
                cuts.append(LeafCut(index, settled))
        elif not is_array(leaf):
            check_constant(leaves, index)
        elif count_axes(leaves, index, backend):
            undeclared.append(index)
    return cuts, undeclared


def _settled(leaves: CallLeaves, index: int, rule: Rule, backend: Backend, *, own: bool) -> Rule | None:
    """`rule` with its axes counted from the first; None where every ubatch gets the leaf as it is.

    `own` says that the rule names this very leaf, and not a container of it.
    """
    leaf = leaves.values[index]
    if rule.kind == "replicate" or leaf is None:
        return None
    if rule.kind == "per_ubatch":
        return rule
    axes = 1 if isinstance(leaf, list) else count_axes(leaves, index, backend) if is_array(leaf) else 0
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


def _declared_counts(leaves: CallLeaves, cuts: Sequence[LeafCut]) -> BatchCounts:
    """What the declared leaves say. Starts come first: they give both counts, and the others must agree."""
    counts = BatchCounts(leaves)
    for cut in cuts:
        if cut.rule.kind == "query_start_loc":
            counts.take_starts(cut.index, read_starts(leaves.values[cut.index], leaves.name(cut.index)))
    for cut in cuts:
        kind, leaf = cut.rule.kind, leaves.values[cut.index]
        if kind in ("seq_lens", "computed_tokens"):
            counts.needs_starts = cut.index
        if kind not in ("query_start_loc", "per_ubatch"):
            size = len(leaf) if isinstance(leaf, list) else int(leaf.shape[cut.rule.axis])
            counts.take(
                "tokens" if kind == "tokens" else "requests", LeafCount(size, cut.index, cut.rule.axis)
            )
    return counts


def _inferred(leaves: CallLeaves, undeclared: Sequence[int], counts: BatchCounts) -> list[LeafCut]:
    """How undeclared arrays are cut, by the size of their first axis."""
    cuts = []
    for index in undeclared:
        count = LeafCount(leaves.values[index].shape[0], index)
        if counts.tokens is None and counts.requests is None:
            counts.take("tokens", count)
        unit = counts.unit_of(count.size)
        if unit is None:
            raise UncoveredArrayError(counts.misfit(count))
        cuts.append(LeafCut(index, TOKENS if unit == "tokens" else REQUESTS))
    return cuts
