"""Compare outputs of a function with the one output that is expected, leaf by leaf, on the host.

Invariant: values are compared in a precision at least that of their dtype; equal infinities and NaNs are
equal. The tolerance is relative to the leaf's own size (its mean magnitude), so that a sum that cancels to
nearly 0 in one place is not called different for the rounding of its terms.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from microbatch.arrays.equal import equal_values
from microbatch.arrays.looks import dtype_name, is_array
from microbatch.arrays.trees import TreeSpec, leaf_paths, output_name
from microbatch.options.messages import shorten

__all__ = ["Comparison", "Difference", "Tolerance"]

HostArray = np.ndarray[Any, Any]

RELATIVE: Mapping[str, float] = MappingProxyType(
    {"float16": 1e-2, "bfloat16": 5e-2, "float32": 1e-4, "complex64": 1e-4}
)
"""Rounding of a few hundred operations in another order; another row does orders of magnitude more."""
RELATIVE_ELSE = 1e-8
"""The same for float64 and complex128."""
LONGEST = 60
"""Characters of a value that a difference shows."""


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
        values = (
            f"{self.whole} from the whole batch, {self.parts} from the parts" if self.whole else self.parts
        )
        return f"{place + ': ' if place else ''}{values} ({self.cut})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far two numbers may differ and count as equal; None takes the default of each dtype."""

    rtol: float | None = None
    """Relative to the value."""
    atol: float | None = None
    """Absolute; None: `rtol` times the mean magnitude of the leaf."""


class Comparison:
    """Compares any number of outputs with the leaves `expected` of the structure `spec`."""

    __slots__ = ("_expected", "_names", "_spec", "_tolerance", "absolute", "relative")

    def __init__(self, spec: TreeSpec, expected: list[Any], tolerance: Tolerance | None = None) -> None:
        self._spec = spec
        self._expected = expected
        self._names = [output_name(path) for path in leaf_paths(spec)]
        self._tolerance = tolerance or Tolerance()
        self.absolute = 0.0
        """Largest absolute difference so far between numbers that counted as equal."""
        self.relative = 0.0
        """The same, divided by the largest magnitude of the leaf."""

    def differences(self, output: Any, label: str, skip: Collection[int] = ()) -> list[Difference]:
        """The first difference of each leaf of `output` that has one; `label` says how it was made.

        `skip` are the numbers of leaves that are not compared.
        """
        try:
            leaves = self._spec.flatten_up_to(output)
        except ValueError:
            return [Difference(path="output", row=None, whole="", parts="has another structure", cut=label)]
        found = [
            self._difference(index, leaf, label) for index, leaf in enumerate(leaves) if index not in skip
        ]
        return [difference for difference in found if difference is not None]

    def _difference(self, index: int, leaf: Any, label: str) -> Difference | None:
        expected = self._expected[index]
        row: int | None = None
        if not is_array(expected) or not is_array(leaf):
            if equal_values(expected, leaf):
                return None
            whole, parts = expected, leaf
        elif str(expected.dtype) != str(leaf.dtype):
            whole, parts = expected.dtype, leaf.dtype
        elif tuple(expected.shape) != tuple(leaf.shape):
            whole, parts = tuple(expected.shape), tuple(leaf.shape)
        else:
            whole, parts = _wide(expected), _wide(leaf)
            far = self._far(whole, parts, RELATIVE.get(dtype_name(expected), RELATIVE_ELSE))
            if not far.any():
                return None
            place = tuple(int(axis[0]) for axis in np.nonzero(far)) if far.ndim else ()
            row = place[0] if place else None
            whole, parts = whole[place], parts[place]
        return Difference(
            path=self._names[index], row=row, whole=_shown(whole), parts=_shown(parts), cut=label
        )

    def _far(self, expected: HostArray, found: HostArray, default: float) -> HostArray:
        """Which entries differ by more than rounding; `default` is the relative tolerance of the dtype."""
        if expected.dtype.kind not in "fc":
            return np.asarray(expected != found)
        with np.errstate(invalid="ignore", over="ignore"):
            finite = np.isfinite(expected) & np.isfinite(found)
            gap = np.where(finite, np.abs(expected - found), 0.0)
            size = np.where(np.isfinite(expected), np.abs(expected), 0.0)
        rtol = default if self._tolerance.rtol is None else self._tolerance.rtol
        atol = self._tolerance.atol
        if atol is None:
            # Terms as large as the leaf's other values may have cancelled in one that is nearly 0: their
            # rounding stays, so the mean magnitude sets the floor.
            atol = rtol * float(size.mean()) if size.size else 0.0
        both_nan = np.isnan(expected) & np.isnan(found)
        # As numpy.isclose: |found - expected| <= atol + rtol |expected|; infinities and NaN must be the same.
        far: HostArray = np.where(finite, gap > atol + rtol * size, ~((expected == found) | both_nan))
        if gap.size and not far.any():
            self.absolute = max(self.absolute, float(gap.max()))
            self.relative = max(self.relative, float(gap.max() / (size.max() or 1.0)))
        return far


def _wide(array: Any) -> HostArray:
    """The values on the host, in a dtype of NumPy that holds them all; for arrays of every framework."""
    if not isinstance(array, np.ndarray):
        return np.asarray(
            array.tolist()
        )  # bfloat16 and the like have no dtype in NumPy, and Python's float holds them
    wide = {"f": np.float64, "c": np.complex128}.get(array.dtype.kind)
    if wide is None or array.dtype.itemsize >= np.dtype(wide).itemsize:
        return array
    return array.astype(wide)


def _shown(value: Any) -> str:
    return shorten(str(value.item() if isinstance(value, np.generic) else value), LONGEST)
