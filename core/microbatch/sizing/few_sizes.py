"""Parts of few sizes, for functions that are compiled anew for each.

Invariant: of one structure, parts of at most four sizes ever run, whatever the policy tries and however many
rows the batches have: up to two that the policy asked for, what is left of the first batch, and a single row.
Where later batches leave other rests, a size from which they can be made goes before a second one of the
policy. Until then no more than three sizes are called in all, those with which it was shown that the function
may be cut and whole batches included: a policy that wants to try more is given one of these. Only a bound
that must hold (memory, the user's cap) makes one more, and then larger ones do not run any more.

What a policy asks for is rounded to a power of two, as it is worked out from noisy numbers: 511 rows for one
number of threads, 512 for another. Rejected: equal parts for each batch (every number of rows is a size of
its own), and filling parts up with rows that are thrown away (the function would see rows that nobody gave).
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

MAINS = 2
"""Sizes that a policy may ask for."""
MOST = 3
"""Sizes beside the single row; and sizes in all, as long as only the policy wants more."""
KINDS = 256
"""Structures that are remembered."""


class Sizes(Struct, frozen=True):
    """The sizes of one structure."""

    mains: tuple[int, ...] = ()
    """Those that the policy asked for."""
    fillers: tuple[int, ...] = ()
    """Those that the rest of a batch is made of."""
    others: frozenset[int] = frozenset()
    """Rows of other calls: those on a few rows before the first cut, and whole batches that a policy
    tried."""

    @property
    def triable(self) -> bool:
        """Whether a policy may try one more."""
        return len(self.others.union(self.mains, self.fillers)) < MOST

    @property
    def room(self) -> bool:
        """Whether there may be one more."""
        return len(self.mains) + len(self.fillers) < MOST

    @property
    def between(self) -> int:
        """A size half-way, by powers of two, from a single row to the least that the policy asked for."""
        return 1 << (min(self.mains).bit_length() // 2)

    def main(self, limit: int) -> int:
        """The size that stands for `limit`: the largest up to it, or the least there is."""
        return max(_up_to(limit, self.mains), default=min(self.mains))

    def parts(self, rows: int, limit: int) -> list[int]:
        """`rows` as a sum of these sizes, in falling order; single rows where nothing else fits."""
        parts: list[int] = []
        sizes = _up_to(self.main(limit), (*self.mains, *self.fillers))
        for size in (*sorted(sizes, reverse=True), 1):
            count, rows = divmod(rows, size)
            parts += [size] * count
        return parts

    def small(self, rows: int, limit: int) -> int:
        """How many of these parts are below the size half-way, so that they cost more than they compute."""
        return sum(part < self.between for part in self.parts(rows, limit))


class FewSizes:
    """The sizes that the parts of one wrapper have."""

    def __init__(self) -> None:
        self._kinds: dict[str, Sizes] = {}

    def parts(self, signature: str, rows: int, limit: int, *, hard: bool = False) -> list[int]:
        """Sizes of the parts of a batch of `rows`, the largest first. None is above `limit` where it is
        `hard`; else the nearest size that there is stands for it."""
        known = self._kinds.get(signature, Sizes())
        if hard:
            mains, fillers = _up_to(limit, known.mains), _up_to(limit, known.fillers)
            known = replace(known, mains=mains, fillers=fillers)
        known = _with_main(known, rows, limit)
        singles = known.parts(rows, limit).count(1)
        if known.room and not known.fillers and singles > 1:
            known = replace(known, fillers=(singles,))
        elif known.room and known.small(rows, limit) >= known.between:
            known = replace(known, fillers=(*known.fillers, known.between))
        self._keep(signature, known)
        return known.parts(rows, limit)

    def called(self, signature: str, sizes: Iterable[int]) -> None:
        """Take note that the function was called on so many rows, beside its parts."""
        known = self._kinds.get(signature, Sizes())
        self._keep(signature, replace(known, others=known.others.union(sizes)))

    def instead_of_whole(self, signature: str, rows: int) -> int | None:
        """The size of the parts that a batch of `rows` is cut into although a policy would try it whole; None
        where it may, which is one size more. Small batches are not told of here."""
        known = self._kinds.get(signature, Sizes())
        if known.mains and (rows <= max(known.mains) or rows in known.others):
            return None
        if not known.mains:
            if len(known.others) < MOST:
                self.called(signature, (rows,))
            return None
        if not known.triable:
            return max(known.mains)
        self.called(signature, (rows,))
        return None

    def _keep(self, signature: str, known: Sizes) -> None:
        if len(self._kinds) >= KINDS:
            self._kinds.clear()
        self._kinds[signature] = known


def rounded(limit: int, *, hard: bool = False) -> int:
    """The power of two that is nearest to `limit`, or the one below it where it is `hard`."""
    below = 1 << (limit.bit_length() - 1)
    return below if hard or limit * limit < 2 * below * below else 2 * below


def _with_main(known: Sizes, rows: int, limit: int) -> Sizes:
    """With `limit` as one of the sizes, where there is room, and the rest of the batch needs it less."""
    if not known.mains:
        return replace(known, mains=(limit,))
    more = replace(known, mains=(*known.mains, limit))
    room = known.room and (known.triable or limit in known.others)
    fits = room and len(known.mains) < MAINS and limit not in known.mains
    return more if fits and more.small(rows, limit) < more.between else known


def _up_to(limit: int, sizes: Iterable[int]) -> tuple[int, ...]:
    return tuple([size for size in sizes if size <= limit])
