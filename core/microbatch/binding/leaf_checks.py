"""Leaves that look as if they could be cut, or passed on whole, and must not be.

Invariant: nothing is consumed or copied to find out. The error names the leaf, what it is and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from microbatch.arrays.hidden_rows import hidden_rows
from microbatch.arrays.looks import describe, framework_of, is_array
from microbatch.arrays.row_types import has_rows, rows_of
from microbatch.binding.leaf_parts import LeafCut
from microbatch.binding.paths import CallLeaves
from microbatch.errors import LayoutError, UncoveredArrayError
from microbatch.extend.device import Device
from microbatch.extend.protocols import Backend

CONSTANTS = frozenset({int, float, bool, complex, str, bytes, type(None)})
"""Types that hold no rows."""


def count_axes(leaves: CallLeaves, index: int, backend: Backend) -> int:
    """Dimensions of an array; raises LayoutError for one whose shape its framework cannot state."""
    leaf = leaves.values[index]
    try:
        return len(leaf.shape)
    except RuntimeError as error:
        reason = backend.unsupported(leaf) or error
        raise LayoutError(f"{leaves.name(index)} cannot be cut by rows: {reason}") from None


def check_constant(leaves: CallLeaves, index: int) -> None:
    """Refuse an iterator, which looks like a constant and is used up by the first part."""
    kind = type(leaves.values[index])
    if hasattr(kind, "__next__"):
        raise LayoutError(
            f"{leaves.name(index)} is a {kind.__name__}, which cannot be cut without consuming it; pass a "
            "list or an array"
        )


def check_objects(leaves: CallLeaves, unknown: Sequence[int], counts: frozenset[int]) -> None:
    """Refuse objects that hold something with an entry per row: every part would be given all of it."""
    if max(counts) < 2:
        return  # one row is never cut
    for index in unknown:
        leaf = leaves.values[index]
        path = hidden_rows(leaf, counts)
        if path is not None:
            raise UncoveredArrayError(
                f"{leaves.name(index)}{path} has as many entries as the batch has rows, and a "
                f"{type(leaf).__name__} is not known as a container, so every part would be given all of "
                f"them; pass it as an argument of its own, declare {leaves.pattern(index)!r} replicate() if "
                "every part needs all, or per_ubatch(), or register the type (hook "
                "microbatch_register_containers)"
            )


def check_arrays(leaves: CallLeaves, cuts: Sequence[LeafCut], device: Device) -> None:
    """Refuse a call without rows, arrays that cannot be cut, and arrays of two devices.

    Arrays of several frameworks may be in one call where all of them are on the host.
    """
    if not cuts:
        raise LayoutError(
            "no argument is an array with rows, so there is nothing to split; pass one, or declare "
            f"a list tokens(){_unknown_type(leaves)}"
        )
    backend = device.backend
    foreign = owned = None
    for cut in cuts:
        leaf, index = leaves.values[cut.index], cut.index
        if cut.rule.kind == "per_ubatch":
            continue
        reason = _why_not(leaf, device)
        if reason:
            raise LayoutError(f"{leaves.name(index)} cannot be cut by rows: {reason}")
        if isinstance(leaf, np.ndarray) or has_rows(leaf) or _is_beside(leaf, device):
            continue
        if backend.owns(leaf):
            owned = index
        else:
            foreign = index
    if foreign is not None:
        _check_foreign(leaves, foreign, owned, backend)


def _unknown_type(leaves: CallLeaves) -> str:
    """What to do about the first argument of a type that is not known; empty where all are."""
    for index, leaf in enumerate(leaves.values):
        kind = type(leaf)
        if kind not in CONSTANTS and not is_array(leaf) and not callable(leaf):
            name = f"{leaves.name(index)} is a {kind.__module__}.{kind.__qualname__}"
            remedy = "pass an array, list or table, or announce the type (hook microbatch_register_rows)"
            return f"; {name}, which is not known to have rows: {remedy}"
    return ""


def _why_not(leaf: Any, device: Device) -> str | None:
    """Why a leaf cannot be cut, by its own kind; None where it can."""
    rows = rows_of(leaf)
    return device.owners.of(leaf).unsupported(leaf) if rows is None else rows.unsupported(leaf)


def _is_beside(leaf: Any, device: Device) -> bool:
    """Whether it is of another framework, and both are on the host, where nothing has to be waited for."""
    owner = device.owners.of(leaf)
    apart = owner is not device.backend and owner.owns(leaf)
    return apart and not owner.asynchronous and not device.backend.asynchronous


def _check_foreign(leaves: CallLeaves, foreign: int, owned: int | None, backend: Backend) -> None:
    """An array of the host may feed a device, if no array is there already; anything else is a mix."""
    fact = f"{leaves.name(foreign)} is {describe(leaves.values[foreign])}"
    if owned is not None:
        raise LayoutError(
            f"{fact} but {leaves.name(owned)} is {describe(leaves.values[owned])}; move them to one device"
        )
    if not _makes_alike(backend, leaves.values[foreign]):
        raise LayoutError(
            f"{fact}, which the backend {backend.name!r} cannot use; name the backend of that framework and "
            "device, or move the array"
        )


def _makes_alike(backend: Backend, array: Any) -> bool:
    """Whether `array` is of the backend's framework, on the host: a backend takes such without owning it."""
    if not str(getattr(array, "device", "cpu")).startswith("cpu"):
        return False
    try:
        made = backend.empty((0,), array)
    except (TypeError, ValueError):
        return False
    return framework_of(made) == framework_of(array)
