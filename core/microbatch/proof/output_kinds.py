"""What each output of a function is: one entry per row, or the same for every part.

Invariant: an output is rows only where its length follows the lengths of both parts and of the witness, and
each row is the same in its part and in the witness; it is a constant only where it is equal in all three.
Anything else refutes the reading, with the fact that does. Values are compared on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from microbatch.arrays.comparing import (
    RELATIVE_ELSE,
    HostArray,
    equal_values,
    far_apart,
    rounding_of,
    same_rows,
    wide,
)
from microbatch.arrays.hidden_rows import hidden_rows
from microbatch.arrays.looks import class_of, is_array, kind_of, on_another_device
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.row_types import has_rows, rows_of
from microbatch.arrays.trees import TreeSpec, flatten
from microbatch.binding.paths import flatten_by_layout
from microbatch.binding.rules import TOKENS, Layout, Rule, replicate, requests, tokens
from microbatch.extend.device import Device
from microbatch.gathering.joined_sink import is_text
from microbatch.gathering.row_places import RowPlaces
from microbatch.options.raised import text_of
from microbatch.proof.host_values import HostValues

TEXT_ROUNDING = 1e-5
"""Relative tolerance of Python's floats that may come from float32."""


class Refuted(Exception):
    """The function or the reading is not what it was taken for; the text says why, beginning with the
    leaf."""


class Lengths(Struct, frozen=True):
    """Where the rows of the two parts are in the sample, for one unit."""

    places: RowPlaces
    """Of the parts."""
    reverse: Any
    """Place in the witness -> place in the sample."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of the first part, of the second, and of the witness."""
        return (*self.places.counts, len(self.reverse))


class Seen(Struct, frozen=True):
    """What is to be compared with the result of the step: the rows of one output leaf."""

    rule: Rule
    """How the leaf is put together."""
    values: Any
    """The rows in the order of the sample: an array of the host, a list of entries, or the constant."""
    rounding: float
    """Relative tolerance."""
    unmakeable: str = ""
    """Why no result of its kind can be made, so that it needs a place of the caller's; empty where it can."""


def opened(
    outputs: Sequence[Any], units: Sequence[Lengths], layout: Layout | None
) -> tuple[TreeSpec, list[list[Any]]]:
    """One structure for all three outputs, and the leaves of each.

    A list of rows is one leaf, and so is what a declared rule takes whole.
    """
    if layout is not None and layout.outputs:
        flat = [flatten_by_layout(output, layout, "outputs", ()) for output in outputs]
        if any(spec != flat[-1][1] for _, spec in flat):
            raise Refuted("the output has another structure in parts of other sizes")
        return flat[-1][1], [leaves for leaves, _ in flat]
    totals = {unit.sizes[-1] for unit in units}
    witness = outputs[-1]
    for is_leaf in (lambda node: is_row_list(node) and len(node) in totals, None):
        leaves, spec = flatten(witness, is_leaf)
        try:
            others = [spec.flatten_up_to(output) for output in outputs[:-1]]
        except ValueError:
            continue
        if is_leaf is None or _lists_follow(leaves, others, units):
            return spec, [*others, leaves]
    raise Refuted("the output has another structure in parts of other sizes")


def _lists_follow(leaves: Sequence[Any], others: Sequence[Sequence[Any]], units: Sequence[Lengths]) -> bool:
    for index, leaf in enumerate(leaves):
        each = [other[index] for other in others]
        if is_row_list(leaf) and not all(type(value) is type(leaf) for value in each):
            return False
        if is_row_list(leaf) and (*map(len, each), len(leaf)) not in [unit.sizes for unit in units]:
            return False
    return True


def kind_of_leaf(name: str, values: Sequence[Any], units: Sequence[Lengths], device: Device) -> Seen:
    """What one output leaf is, given as the parts and the witness returned it; raises Refuted."""
    read = HostValues(device)
    witness = values[-1]
    rows = rows_of(witness)
    if rows is not None:
        same_type = all(type(value) is type(witness) for value in values)
        sizes = tuple(map(rows.length, values)) if same_type else ()
        unit = next((unit for unit in units if unit.sizes == sizes), None)
        if unit is not None:
            listed = is_row_list(witness)
            return _list_rows(name, values, unit, read) if listed else _table_rows(name, values, unit, read)
    elif all(is_array(value) and len(value.shape) == len(witness.shape) for value in values):
        found = _axis_of(values, units)
        if found is not None:
            return _array_rows(name, values, *found, device)
    return _constant(name, values, units, read)


def _axis_of(values: Sequence[Any], units: Sequence[Lengths]) -> tuple[int, Lengths] | None:
    """The first axis whose size follows the number of rows, and of which unit."""
    for axis in range(len(values[0].shape)):
        sizes = tuple(int(value.shape[axis]) for value in values)
        for unit in units:
            if sizes == unit.sizes:
                return axis, unit
    return None


def _array_rows(name: str, values: Sequence[Any], axis: int, unit: Lengths, device: Device) -> Seen:
    (first, second, witness), read = values, HostValues(device)
    owner = device.owners.of(first)
    if owner is not device.backend and owner.asynchronous:
        raise Refuted(f"{name} is {on_another_device(first, device.backend)}")
    for value in values:
        texts = is_text(value) and is_text(first) and value.dtype.kind == first.dtype.kind
        if (value.dtype != first.dtype and not texts) or type(value) is not type(first):
            raise Refuted(f"{name} is {kind_of(value)} in one part and {kind_of(first)} in another")
        if (*value.shape[:axis], *value.shape[axis + 1 :]) != (*first.shape[:axis], *first.shape[axis + 1 :]):
            raise Refuted(
                f"{name} has rows of other shapes in parts of other sizes: {kind_of(first)} and "
                f"{kind_of(value)}"
            )
    parts = [np.moveaxis(read(value), axis, 0) for value in (first, second)]
    owned = [part[: where.stop - where.start] for part, where in zip(parts, unit.places.ranges, strict=True)]
    rows, other = np.concatenate(owned), np.moveaxis(read(witness), axis, 0)
    seen = Seen(_rule(unit, axis), rows, rounding_of(first), _unmakeable(name, first, device))
    row = first_unequal(rows[unit.reverse], other, seen.rounding)
    if row is not None:
        raise Refuted(f"{name} of a row depends on the other rows of its part or on its place in it")
    return seen


def _unmakeable(name: str, like: Any, device: Device) -> str:
    """Why no result of the same class can be made: it would be of another type than the plain call's."""
    backend = device.owners.of(like)
    reason = backend.unsupported(like)
    if reason:
        return f"{name} cannot be put together: {reason}"
    try:
        made = backend.empty(like.shape, like)
    except (TypeError, ValueError, AttributeError) as error:
        return f"{name} is a {type(like).__name__}, which {backend.name!r} cannot make: {text_of(error)}"
    if class_of(made) is class_of(like) or issubclass(class_of(like), class_of(made)):
        return ""
    return f"{name} is a {type(like).__name__}, which would come back as a {type(made).__name__}"


def _list_rows(name: str, values: Sequence[Any], unit: Lengths, read: HostValues) -> Seen:
    first, second, witness = values
    if type(first) is range:
        raise Refuted(f"{name} is a range, which says a row's place in its part")
    rows: list[Any] = []
    for part, where in zip((first, second), unit.places.ranges, strict=True):
        rows += list(part)[: where.stop - where.start]
    for place, entry in zip(np.asarray(unit.reverse).tolist(), witness, strict=True):
        if not alike(rows[place], entry, read):
            raise Refuted(f"{name} of a row depends on the other rows of its part or on its place in it")
    return Seen(_rule(unit, 0), rows, TEXT_ROUNDING)


def _table_rows(name: str, values: Sequence[Any], unit: Lengths, read: HostValues) -> Seen:
    """Rows of a table: what comes of joining the parts must be the witness, its type and names included."""
    witness = values[-1]
    rows = rows_of(witness)
    assert rows is not None, "asked before"
    reason = rows.unsupported(witness)
    if reason:
        return Seen(_rule(unit, 0), None, TEXT_ROUNDING, f"{name} cannot be put together: {reason}")
    if any(rows.alike(value) != rows.alike(witness) for value in values):
        raise Refuted(f"{name} has other columns, types or names in parts of other sizes")
    places = zip(values[:-1], unit.places.ranges, strict=True)
    owned = [rows.take(part, slice(0, where.stop - where.start)) for part, where in places]
    try:
        joined, turned = rows.join(owned), rows.join(owned, np.asarray(unit.reverse, np.int64))
    except Exception as error:  # noqa: BLE001  # each library has errors of its own
        raise Refuted(f"{name} cannot be put together: {text_of(error)}") from None
    if not alike(turned, witness, read):
        raise Refuted(f"{name} of a row depends on the other rows of its part or on its place in it")
    return Seen(_rule(unit, 0), joined, TEXT_ROUNDING)


def _constant(name: str, values: Sequence[Any], units: Sequence[Lengths], read: HostValues) -> Seen:
    witness = values[-1]
    counts = frozenset(size for unit in units for size in unit.sizes)
    hidden = None if is_array(witness) or has_rows(witness) else hidden_rows(witness, counts)
    if hidden is not None:
        raise Refuted(
            f"{name}{hidden} has an entry per row inside a {type(witness).__name__}, which is not known as a "
            "container"
        )
    for value, unit_size in zip(values, units[0].sizes, strict=True):
        if not alike(value, witness, read):
            raise Refuted(
                f"{name} is {_shown(value)} for {unit_size} rows and {_shown(witness)} for "
                f"{units[0].sizes[-1]}, so it is neither one entry per row nor the same for all parts"
            )
    return Seen(replicate(), witness, TEXT_ROUNDING)


def _shown(value: Any) -> str:
    return f"a {type(value).__name__} of {len(value)}" if is_row_list(value) else kind_of(value)


def _rule(unit: Lengths, axis: int) -> Rule:
    if unit.places.unit == "tokens" and axis == 0:
        return TOKENS
    return (tokens if unit.places.unit == "tokens" else requests)(axis)


def first_unequal(expected: Any, found: Any, rounding: float) -> int | None:
    """The first row that differs by more than rounding; None where none does."""
    if expected.shape != found.shape:
        return 0
    far = far_apart(expected, found, rounding)
    return int(np.argwhere(far)[0][0]) if far.any() else None


def _is_single(number: float) -> bool:
    """Whether it may come from a float32: a result of double precision is hardly ever one that this holds."""
    with np.errstate(over="ignore"):
        return float(np.float32(number)) == number


def alike(first: Any, second: Any, read: Callable[[Any], HostArray] = wide) -> bool:
    """Whether two entries or constants are the same, numbers to rounding."""
    if first is second:
        return True
    if is_array(first) and is_array(second):
        if first.dtype != second.dtype or tuple(first.shape) != tuple(second.shape):
            return False
        return not far_apart(read(first), read(second), rounding_of(first)).any()
    if has_rows(first) and not is_row_list(first):
        return same_rows(first, second, lambda one, other: alike(one, other, read))
    if type(first) is float and type(second) is float:
        single = _is_single(first) and _is_single(second)
        rounding = TEXT_ROUNDING if single else RELATIVE_ELSE
        return bool(np.isclose(first, second, rtol=rounding, atol=0.0, equal_nan=True))
    leaves, spec = flatten(first)
    if spec.is_leaf():
        return equal_values(first, second)
    try:
        others = spec.flatten_up_to(second)
        return all(alike(one, other, read) for one, other in zip(leaves, others, strict=True))
    except ValueError:
        return False
