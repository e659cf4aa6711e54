"""Find the batch in the arguments: how many tokens and requests, and how each leaf is cut.

Invariant: every array with rows has a rule, declared or inferred from its size where that is unambiguous; an array
that none covers is an error that names it, since a dropped or replicated field gives wrong answers silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np

from microbatch.arrays.looks import describe, framework_of, is_array
from microbatch.binding.counts import Sizes, as_ints, check_starts, request_lengths
from microbatch.binding.leaf_parts import LeafCut
from microbatch.binding.rules import Layout, Rule, requests, tokens
from microbatch.cutting.cut import BatchShape
from microbatch.errors import LayoutError, UncoveredArrayError
from microbatch.extend.protocols import Backend

__all__ = ["Found", "find_batch", "is_array"]

Name = Callable[[int], str]
Declared = Sequence[tuple[Rule | None, bool]]
TOKENS = tokens()
REQUESTS = requests()
_CONSTANTS = frozenset({int, float, bool, complex, str, bytes, type(None)})
_REQUEST_KINDS = frozenset({"requests", "seq_lens", "computed_tokens"})


@dataclass(frozen=True, slots=True)
class Found:
    """The batch in the leaves."""

    shape: BatchShape
    """Its counts."""
    cuts: tuple[LeafCut, ...]
    """The leaves that are cut; the others every ubatch gets whole."""
    width: int | None
    """Size of the padded axis that may be trimmed, None when no leaf has one."""


def find_batch(
    leaves: Sequence[Any],
    declared: Declared | None,
    layout: Layout | None,
    call: tuple[tuple[Any, ...], dict[str, Any]],
    backend: Backend,
    name: Name,
    matches: Callable[[str, int], bool],
) -> Found:
    """Measure the batch; raises LayoutError for leaves that cannot be cut or do not fit together."""
    cuts: list[LeafCut] = []
    open_leaves: list[int] = []
    for index, leaf in enumerate(leaves):
        rule, own = declared[index] if declared else (None, False)
        if rule is not None:
            if is_array(leaf) and rule.kind not in ("replicate", "per_ubatch"):
                _dimensions(leaf, index, backend, name)
            rule = _settled(leaf, rule, own, index, name)
            if rule is not None:
                cuts.append(LeafCut(index, rule))
        elif is_array(leaf):
            if _dimensions(leaf, index, backend, name):
                open_leaves.append(index)
        elif type(leaf) not in _CONSTANTS:
            _check_constant(leaf, index, name)
    sizes = _declared_sizes(leaves, cuts, name)
    cuts += _inferred(leaves, open_leaves, sizes, name)
    _check_kinds(leaves, cuts, backend, name)
    shape = sizes.shape(name)
    if layout is not None and layout.lengths is not None:
        lengths = request_lengths(layout.lengths, leaves, call, shape, matches, name)
        shape = replace(shape, lengths=lengths)
    return Found(shape, tuple(sorted(cuts, key=lambda cut: cut.index)), _width(leaves, cuts))


def _dimensions(leaf: Any, index: int, backend: Backend, name: Name) -> int:
    try:
        return len(leaf.shape)
    except RuntimeError as error:
        raise LayoutError(
            f"{name(index)} cannot be cut by rows: {backend.unsupported(leaf) or error}"
        ) from None


def _settled(leaf: Any, rule: Rule, own: bool, index: int, name: Name) -> Rule | None:
    """`rule` with its axes checked against `leaf`; None where the leaf is given to all as it is."""
    if rule.kind == "replicate" or leaf is None:
        return None
    if rule.kind == "per_ubatch":
        return rule
    axes = 1 if isinstance(leaf, list) else len(leaf.shape) if is_array(leaf) else 0
    if axes == 0:
        if not own and rule.kind in ("tokens", "requests"):
            return None
        kind = "0-dimensional" if is_array(leaf) else f"a {type(leaf).__name__}"
        raise LayoutError(f"{name(index)} is {kind} and cannot be cut by {rule}; declare it replicate()")
    axis = _axis(rule.axis, axes, "axis", index, name)
    trim = None if rule.trim is None else _axis(rule.trim, axes, "trim", index, name)
    if axis == trim:
        raise LayoutError(
            f"{name(index)} has axis {axis} both cut and trimmed; trim the axis of padded columns"
        )
    settled = replace(rule, axis=axis, trim=trim)
    return TOKENS if settled == TOKENS else settled


def _axis(axis: int, axes: int, what: str, index: int, name: Name) -> int:
    if not -axes <= axis < axes:
        plural = "dimension" if axes == 1 else "dimensions"
        raise LayoutError(
            f"{name(index)} has {axes} {plural}, so {what}={axis} does not exist; correct its rule"
        )
    return axis % axes


def _declared_sizes(leaves: Sequence[Any], cuts: Sequence[LeafCut], name: Name) -> Sizes:
    sizes = Sizes()
    for cut in cuts:
        leaf, kind = leaves[cut.index], cut.rule.kind
        if kind == "query_start_loc":
            starts = check_starts(as_ints(leaf, name(cut.index)), name(cut.index))
            sizes.set_starts(starts, cut.index, name)
    for cut in cuts:
        leaf, kind = leaves[cut.index], cut.rule.kind
        size = len(leaf) if isinstance(leaf, list) else leaf.shape[cut.rule.axis] if is_array(leaf) else 0
        if kind == "tokens":
            sizes.set_tokens(size, cut.index, cut.rule.axis, name)
        elif kind in _REQUEST_KINDS:
            sizes.set_requests(size, cut.index, cut.rule.axis, name)
        if kind in ("seq_lens", "computed_tokens"):
            sizes.needs_starts = cut.index
    return sizes


def _inferred(leaves: Sequence[Any], indices: Sequence[int], sizes: Sizes, name: Name) -> list[LeafCut]:
    cuts = []
    for index in indices:
        size = leaves[index].shape[0]
        if sizes.empty:
            sizes.set_tokens(size, index, 0, name)
        kind = sizes.kind_of(size)
        if kind is None:
            raise UncoveredArrayError(sizes.misfit(size, index, name))
        cuts.append(LeafCut(index, TOKENS if kind == "tokens" else REQUESTS))
    return cuts


def _check_constant(leaf: Any, index: int, name: Name) -> None:
    """Refuse what looks like a constant and is not: an iterator, or a container that hides arrays."""
    if hasattr(type(leaf), "__next__"):
        kind = type(leaf).__name__
        raise LayoutError(
            f"{name(index)} is a {kind}; it cannot be cut without consuming it, pass a list or an array"
        )
    inside: Any = ()
    if isinstance(leaf, Mapping):
        inside = leaf.values()
    elif is_dataclass(leaf) and not isinstance(leaf, type):
        inside = vars(leaf).values() if hasattr(leaf, "__dict__") else ()
    elif isinstance(leaf, (list, tuple)) and type(leaf) is not list:
        inside = leaf
    if any(is_array(value) and len(value.shape) for value in inside):
        raise UncoveredArrayError(
            f"{name(index)} is a {type(leaf).__name__} that holds arrays and is not known as a container; register "
            "it (hook microbatch_register_containers), pass a dict, or declare it replicate() or per_ubatch()"
        )


def _check_kinds(leaves: Sequence[Any], cuts: Sequence[LeafCut], backend: Backend, name: Name) -> None:
    """Refuse arrays whose rows cannot be cut, and arrays of another framework or device."""
    if not cuts:
        raise LayoutError(
            "nothing to split: no argument is an array with rows; pass one, or declare a list tokens()"
        )
    strange = owned = None
    for cut in cuts:
        leaf, index = leaves[cut.index], cut.index
        if isinstance(leaf, list) or cut.rule.kind == "per_ubatch":
            continue
        reason = backend.unsupported(leaf)
        if reason:
            raise LayoutError(f"{name(index)} cannot be cut by rows: {reason}")
        if isinstance(leaf, np.ndarray):
            continue
        if backend.owns(leaf):
            owned = index
        else:
            strange = index
    if strange is not None:
        _check_strange(leaves, strange, owned, backend, name)


def _check_strange(
    leaves: Sequence[Any], strange: int, owned: int | None, backend: Backend, name: Name
) -> None:
    """An array of the host may feed a device, if none is there already; anything else is a mix."""
    here = describe(leaves[strange])
    if owned is not None:
        raise LayoutError(
            f"{name(strange)} is {here} but {name(owned)} is {describe(leaves[owned])}; move them to one device"
        )
    if not _makes_like(backend, leaves[strange]):
        raise LayoutError(
            f"{name(strange)} is {here}, which the backend {backend.name!r} cannot use; name the backend of that "
            "framework and device, or move the array"
        )


def _makes_like(backend: Backend, array: Any) -> bool:
    """Whether `array` is of the backend's framework, on the host: the one kind it need not own."""
    if not str(getattr(array, "device", "cpu")).startswith("cpu"):
        return False
    try:
        made = backend.empty((0,), array)
    except (TypeError, ValueError):
        return False
    return framework_of(made) == framework_of(array)


def _width(leaves: Sequence[Any], cuts: Sequence[LeafCut]) -> int | None:
    widths = [leaves[cut.index].shape[cut.rule.trim] for cut in cuts if cut.rule.trim is not None]
    return max(widths) if widths else None
