"""How large the next part of a step shall be, as the times of the parts before it say.

A step has dozens of parts, and each is a measurement: so the first call of a new kind finds its size while it
runs. Parts are measured by *windows*, several of one size one after another, since a part that runs beside
parts of another size takes another time: they wait for Python's lock as often as the others make them.

It begins with a size that is rather small and goes at once to one that takes about a millisecond. From there
it looks at the sizes beside the best until it has a window of each that is worse, and stays at the smallest
that is within 3 % of the best. Now and then a window is one of a size beside that. The last parts are
smaller, so that all workers end together.

Invariant: sizes are within the bounds, and the same times give the same sizes. What the times say is worked
out when a window closes, by one thread; nothing is locked. Rejected: a search over calls alone, whose first
calls are slow (18 times for a function with 1 MiB of intermediates a row); single parts of another size among
those of the best one; times of sizes measured at different times, which load makes alike.
"""

from __future__ import annotations

from math import inf

from microbatch.sizing.pace_bounds import PaceBounds
from microbatch.sizing.pace_compared import Compared
from microbatch.sizing.pace_window import Window, parts_of_window

FIRST_SECONDS = 1e-3
"""Seconds that a part takes to which the first ones grow. What a core does in a millisecond moves about 10 MB
at most, so this needs little memory, and handing a part over costs 2 % of it."""
AT_ONCE = 16
"""Factor by which they grow at once."""
CHECKED_SECONDS, CHECKED = 2e-3, 64
"""Seconds of the part whose result is compared with what few rows have given, and its fewest units: five
times the rows that were tried. A 16th of the batch took a third of the first call of an expansion."""
HOPELESS = 1.6
"""Factor of the best from which two parts of another size end its window."""
LAST = 4
"""The last parts are down to this part of the size."""


class Pace:
    """The pace of one step; parts may end in several threads at the same time."""

    __slots__ = ("_bounds", "_compared", "_growing", "_latest", "_window", "_workers")

    def __init__(self, bounds: PaceBounds, workers: int, units: float = inf) -> None:
        """`workers` run parts at the same time; the step has so many `units`."""
        self._bounds = bounds
        self._workers = workers
        self._compared = Compared(bounds, units / 10 / parts_of_window(workers))
        self._growing = True
        self._window = Window(self._compared.best, workers)
        self._latest = 0.0
        """Seconds per unit of the last part."""

    def size(self, left: int) -> int:
        """Units of the next part where `left` units are not planned yet."""
        size = self._window.size
        share = max(-(-left // self._workers), size // LAST, self._bounds.fewest)
        return min(size, share, left)

    def checked(self) -> int:
        """Units of a part that is larger than those beside it, and takes few milliseconds."""
        fits = int(CHECKED_SECONDS / self._latest) if self._latest else 0
        return max(self._window.size, min(self._bounds.most, max(fits, CHECKED)))

    def ran(self, units: int, seconds: float) -> None:
        """A part of so many units has ended after `seconds`."""
        if not 0 < seconds < inf:
            return
        window, self._latest = self._window, seconds / units
        if units != window.size or (self._growing and self._grows(window, seconds)):
            return
        best, base = self._compared.best, self._compared.base
        hopeless = HOPELESS * base * units if base and units != best else inf
        if window.closed_by(seconds, self._workers, hopeless):
            self._closed(window)

    def found(self) -> tuple[tuple[int, float], ...]:
        """(units, seconds per unit of one part) of each comparison that is kept, in order of the units."""
        window, found = self._window, self._compared.found()
        return found or (((window.size, window.seconds_per_unit()),) if window.times else ())

    def _grows(self, window: Window, seconds: float) -> bool:
        """Whether the first parts are far too small, and are larger from now on."""
        factor = min(AT_ONCE, FIRST_SECONDS / max(seconds, 1e-9), self._bounds.most / window.size)
        if factor < 2:
            return False
        self._compared.best = window.size << (int(factor).bit_length() - 1)
        self._window = Window(self._compared.best, self._workers)
        return True

    def _closed(self, window: Window) -> None:
        """Compare, and open the next window."""
        self._growing = False
        size = self._compared.next_size(window.size, window.seconds_per_unit())
        self._window = Window(size, 0 if size == window.size else self._workers)
