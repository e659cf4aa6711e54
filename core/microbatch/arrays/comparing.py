"""Compare two outputs of a function leaf by leaf, on the host.

Invariant: values are compared in a precision at least that of their dtype; equal infinities and NaNs are equal.
The tolerance is relative to the leaf's own size (mean magnitude), so that a sum that cancels to nearly 0 in one
place is not called different for the rounding of its terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from microbatch.arrays.equal import same
from microbatch.arrays.looks import is_array
from microbatch.arrays.trees import leaf_paths, output_name
from microbatch.options.messages import shorten

__all__ = ["Comparison", "Difference", "Tolerance", "compare"]

Host = np.ndarray[Any, Any]

RELATIVE = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-4, "complex64": 1e-4}
"""Rounding of a few hundred operations in another order; a step on other rows is orders of magnitude away."""
RELATIVE_ELSE = 1e-8


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
        told = f"{self.whole} whole, {self.parts} cut" if self.whole else self.parts
        return f"{place + ': ' if place else ''}{told} ({self.cut})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What counts as equal; None takes the default of each dtype."""

    rtol: float | None = None
    """Relative to the value."""
    atol: float | None = None
    """Absolute; None: `rtol` times the mean magnitude of the leaf."""


@dataclass(slots=True)
class Comparison:
    """The largest differences between numbers that counted as equal, and the first leaf that did not."""

    absolute: float = 0.0
    """Largest absolute difference."""
    relative: float = 0.0
    """Largest absolute difference of a leaf, divided by the leaf's largest magnitude."""


def compare(
    spec: Any,
    whole: list[Any],
    other: Any,
    cut: str,
    tolerance: Tolerance,
    seen: Comparison,
    skip: frozenset[int],
) -> list[Difference]:
    """Differences between the leaves `whole` of structure `spec` and the tree `other`, one per leaf at most.

    `skip` are the numbers of leaves that a rule combines in its own way (collect) and that have no counterpart.
    """
    try:
        leaves = spec.flatten_up_to(other)
    except ValueError:
        return [Difference(path="output", row=None, whole="", parts="has another structure", cut=cut)]
    names = [output_name(path) for path in leaf_paths(spec)]
    found = [
        _leaf(name, first, second, cut, tolerance, seen)
        for index, (name, first, second) in enumerate(zip(names, whole, leaves, strict=True))
        if index not in skip
    ]
    return [difference for difference in found if difference is not None]


def _leaf(
    name: str, whole: Any, other: Any, cut: str, tolerance: Tolerance, seen: Comparison
) -> Difference | None:
    if not is_array(whole) or not is_array(other):
        if same_values(whole, other):
            return None
        return Difference(path=name, row=None, whole=_short(whole), parts=_short(other), cut=cut)
    for first, second in (
        (str(whole.dtype), str(other.dtype)),
        (str(tuple(whole.shape)), str(tuple(other.shape))),
    ):
        if first != second:
            return Difference(path=name, row=None, whole=first, parts=second, cut=cut)
    expected, found = host(whole), host(other)
    far = _far(expected, found, str(whole.dtype).rpartition(".")[2], tolerance, seen)
    if not far.any():
        return None
    place = tuple(int(axis[0]) for axis in np.nonzero(far)) if far.ndim else ()
    row = place[0] if place else None
    return Difference(path=name, row=row, whole=_short(expected[place]), parts=_short(found[place]), cut=cut)


def _far(whole: Host, other: Host, dtype: str, tolerance: Tolerance, seen: Comparison) -> Host:
    """Which entries differ by more than rounding."""
    if whole.dtype.kind not in "fc":
        return np.asarray(whole != other)
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.isfinite(whole) & np.isfinite(other)
        gap = np.where(finite, np.abs(whole - other), 0.0)
        size = np.where(np.isfinite(whole), np.abs(whole), 0.0)
    rtol = tolerance.rtol if tolerance.rtol is not None else RELATIVE.get(dtype, RELATIVE_ELSE)
    atol = tolerance.atol
    if atol is None:
        atol = rtol * float(size.mean()) if size.size else 0.0
    both_nan = np.isnan(whole) & np.isnan(other)
    far: Host = np.where(finite, gap > atol + rtol * size, ~((whole == other) | both_nan))
    if gap.size and not far.any():
        seen.absolute = max(seen.absolute, float(gap.max()))
        seen.relative = max(seen.relative, float(gap.max() / (size.max() or 1.0)))
    return far


def same_values(first: Any, second: Any) -> bool:
    """Whether two leaves that are not both arrays are equal."""
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return all(same_values(one, other) for one, other in zip(first, second, strict=True))
    if isinstance(first, list) or isinstance(second, list):
        return False
    if is_array(first) and is_array(second):
        return first.shape == second.shape and not bool((host(first) != host(second)).any())
    return first is second or same(first, second)


def host(array: Any) -> Host:
    """The values on the host, in a dtype of NumPy that holds them; works for arrays of every framework."""
    if isinstance(array, np.ndarray):
        wide = {"f": np.float64, "c": np.complex128}.get(array.dtype.kind)
        return (
            array if wide is None or array.dtype.itemsize >= np.dtype(wide).itemsize else array.astype(wide)
        )
    return np.asarray(array.tolist())


def _short(value: Any) -> str:
    return shorten(str(value.item() if isinstance(value, np.generic) else value), 60)
