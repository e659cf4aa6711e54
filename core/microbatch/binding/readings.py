"""How the sizes of undeclared leaves may be read: which of them is the batch, and which goes to every part.

Invariant: a reading follows from the structure and from which sizes are equal, so calls that differ only in
the number of rows have the same readings in the same order. The first is the likeliest; a proof tries the
next where it is refuted. Rejected: one reading by rules alone, since weights with as many rows as the batch,
a table that is looked up in and a mean over rows cannot be told from rows by their sizes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from microbatch.arrays.trees import TreeSpec

MOST = 4
"""Readings that are tried; each costs three small calls of the function."""


class NoReadingError(LookupError):
    """All readings of these sizes have been taken; never leaves the proof."""


class Sized(Struct, frozen=True):
    """An undeclared leaf that has rows, if anything has."""

    index: int
    """Its number among the leaves."""
    size: int
    """Entries along its first axis."""
    is_array: bool
    """Whether it is an array; else a list, tuple, deque or range."""
    square: bool
    """Whether its second axis is as long as its first, as that of many weights."""
    flat: bool
    """Whether it has one axis only."""


class Reading(Struct, frozen=True):
    """One way to read the sizes."""

    rows: int
    """Rows of the batch."""
    cut: frozenset[int]
    """The leaves that are cut; all others go to every part as they are."""


def readings_of(sized: Sequence[Sized], spec: TreeSpec) -> list[Reading]:
    """All readings, the likeliest first; `spec` is the structure of (args, kwargs). Empty without a size."""
    found: list[Reading] = []
    for reading in _in_order(sized, spec):
        if reading.cut and reading not in found:
            found.append(reading)
    return found[:MOST]


def readings_beside(sized: Sequence[Sized], fitting: Sequence[int]) -> list[Reading]:
    """All readings where declared leaves say the counts, and the leaves `fitting` have as many rows."""
    found: list[Reading] = []
    if not fitting:
        return found
    members = [leaf for leaf in sized if leaf.index in fitting]
    for whole in (set[int](), *_partners(members, declared=True)):
        reading = Reading(0, frozenset(fitting) - whole)
        if reading not in found:
            found.append(reading)
    return found[:MOST]


def nth(readings: Sequence[Reading], number: int) -> Reading:
    """The reading `number`, counted from 0; raises NoReadingError where there are not so many."""
    if number >= len(readings):
        raise NoReadingError
    return readings[number]


def first_reading(sized: Sequence[Sized]) -> Reading:
    """The first array says how many rows there are, and all leaves with as many are cut.

    Without an array the first list says it; there is at least one leaf.
    """
    first = next((leaf for leaf in sized if leaf.is_array), sized[0])
    return _read(sized, first.size)


def _in_order(sized: Sequence[Sized], spec: TreeSpec) -> Iterator[Reading]:
    if not sized:
        return
    yield (first := first_reading(sized))
    members = [leaf for leaf in sized if leaf.index in first.cut]
    leader = next((leaf for leaf in members if leaf.is_array), members[0])
    partners = _partners(members)
    # f(x, W), f(x, table): a partner with as many rows that every row needs whole
    yield from (_read(sized, first.rows, whole) for whole in partners[:1])
    # f(params, x): the batch is what another argument says
    for leaf in _first_of_arguments(sized, spec):
        if leaf.size != first.rows:
            yield _read(sized, leaf.size)
        elif leaf is not leader and not leaf.flat:
            yield Reading(leaf.size, frozenset({leaf.index}))
    yield from (_read(sized, first.rows, whole) for whole in partners[1:])


def _partners(members: Sequence[Sized], *, declared: bool = False) -> list[set[int]]:
    """Which of the leaves with as many rows may go whole, the likeliest first: one of them, then all others.

    A square array is more likely a weight than one with few columns, and that than a single column. The first
    is the likeliest batch itself, so it comes last, unless `declared` leaves are the batch.
    """
    arrays = [leaf for leaf in members if leaf.is_array]
    rest = arrays if declared else [*arrays[1:], *arrays[:1]]
    likely = sorted(rest, key=lambda leaf: (not leaf.square, leaf.flat))
    alone = [{leaf.index} for leaf in likely]
    return [*alone, {leaf.index for leaf in arrays[1:]}, {leaf.index for leaf in members[1:]}]


def _read(sized: Sequence[Sized], rows: int, whole: Collection[int] = ()) -> Reading:
    return Reading(
        rows, frozenset(leaf.index for leaf in sized if leaf.size == rows and leaf.index not in whole)
    )


def _first_of_arguments(sized: Sequence[Sized], spec: TreeSpec) -> Iterator[Sized]:
    """The first array of each argument, in order."""
    arguments = [argument for place in spec.children() for argument in place.children()]
    start = 0
    for argument in arguments:
        stop = start + argument.num_leaves
        first = next((leaf for leaf in sized if leaf.is_array and start <= leaf.index < stop), None)
        if first is not None:
            yield first
        start = stop
