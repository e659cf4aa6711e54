"""Where the pace of a step begins, and what holds for all of its parts."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

PARTS = 32
"""No part has more than this part of the batch."""


class PaceBounds(Struct, frozen=True, kw_only=True):
    """Where a pace begins, and what holds for all of its parts but the last ones. All are powers of two."""

    start: int
    """Units of the first parts."""
    least: int
    """Fewest units of a part, at most `start`."""
    most: int
    """Most units of a part, at least `start`."""
    fewest: int = 1
    """No part has fewer units than this, also of the last ones, unless the batch has; any number."""

    def above(self, units: int) -> PaceBounds:
        """The same with no part below `units`; as they are where a part may not have so many."""
        least = max(self.least, 1 << (units - 1).bit_length())
        if least > self.most:
            return self
        return replace(self, fewest=units, least=least, start=max(self.start, least))

    def allow(self, size: int) -> bool:
        """Whether parts may have so many units."""
        return self.least <= size <= self.most
