"""How others find a batch size, each written from its description, and ours, behind one interface.

A search is a generator: it yields a size to try, is sent whether that size ran, and returns the size it ends
with. So each search sees the same trials and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

Search = Generator[int, bool, int]
CAP = 1024
"""Largest size any search may try."""


def halving() -> Search:
    """toma, Composer: start at the whole batch, halve until it runs."""
    return (yield from _shrink(lambda n: n // 2))


def times_nine_tenths() -> Search:
    """accelerate since July 2025: int(0.9 n) until it runs."""
    return (yield from _shrink(lambda n: int(n * 0.9)))


def timm() -> Search:
    """timm's decay with one step between powers of two: 64, 48, 32, 24, 16."""

    def lower(n: int) -> int:
        base = 1 << ((n - 1).bit_length() - 1)
        return base + base // 2 if n > base + base // 2 and base > 1 else base

    return (yield from _shrink(lambda n: lower(n) if n > 1 else 0))


def torch_max_mem() -> Search:
    """torch-max-mem: halve, then down to a multiple of 32 where that is above 32."""
    return (yield from _shrink(lambda n: n // 2 // 32 * 32 if n // 2 > 32 else n // 2))


def lightning_power() -> Search:
    """Lightning's `power`: double from 2 until it fails, and take the size before."""
    size, best = 2, 0
    while size <= CAP:
        if not (yield size):
            return best or 1
        best, size = size, size * 2
    return best


def lightning_binsearch() -> Search:
    """Lightning's `binsearch`: double from 2, bisect, then 5 % off in rows."""
    low, high, size = 1, 0, 2
    while high == 0 and size <= CAP:
        if (yield size):
            low, size = size, size * 2
        else:
            high = size
    while high and high - low > 1:
        middle = (low + high) // 2
        if (yield middle):
            low = middle
        else:
            high = middle
    return max(1, int(low * 0.95))


def nemo() -> Search:
    """NeMo's OOMptimizer: double or halve from 32 until both sides are known, bisect to 5 %."""
    best, failed, size = 0, 0, 32
    while True:
        if (yield size):
            best = size
        else:
            failed = size
        if best >= CAP or failed == 1 or (best and failed and _near(best, failed)):
            return best
        size = (best + failed) // 2 if best and failed else min(best * 2, CAP) or failed // 2


def deepmd() -> Search:
    """deepmd-kit: double while it runs and nothing larger failed, halve when it fails."""
    size, failed = 32, CAP + 1
    while True:
        if (yield size):
            if size * 2 >= failed or size * 2 > CAP:
                return size
            size *= 2
        else:
            failed, size = size, size // 2
            if size < 1:
                return 0


SEARCHES: dict[str, Callable[[], Search]] = {
    "halving (toma, Composer)": halving,
    "x0.9 (accelerate)": times_nine_tenths,
    "two steps a power (timm)": timm,
    "halve, multiples of 32 (torch-max-mem)": torch_max_mem,
    "power (Lightning)": lightning_power,
    "binsearch (Lightning)": lightning_binsearch,
    "bisect to 5 % (NeMo)": nemo,
    "double, halve (deepmd-kit)": deepmd,
}


class Sizer:
    """A size that follows what happens step by step; the base never changes it."""

    def __init__(self, size: float = CAP) -> None:
        self.size = size

    def next(self) -> int:
        """The size of the next attempt."""
        return max(1, int(self.size))

    def ran(self) -> None:
        """The step ran."""

    def failed(self) -> None:
        """The attempt ran out of memory."""


class Shrinking(Sizer):
    """Times `factor` at each failure, never back (toma and Composer 0.5, accelerate 0.9)."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def failed(self) -> None:
        """Shrink."""
        self.size = max(1.0, self.size * self._factor)


class Doubling(Sizer):
    """deepmd-kit: double below the smallest size that ever failed, halve at a failure."""

    def __init__(self) -> None:
        super().__init__(32)
        self._ceiling = float("inf")

    def ran(self) -> None:
        """Grow below the ceiling."""
        if self.size * 2 < self._ceiling and self.size * 2 <= CAP:
            self.size *= 2

    def failed(self) -> None:
        """Remember the ceiling for ever."""
        self._ceiling = min(self._ceiling, self.size)
        self.size = max(1.0, self.size // 2)


class Aimd(Sizer):
    """Add `rise` when it ran, times `fall` when not; below 0.95 of a ceiling that is forgotten after `life`
    steps."""

    def __init__(self, rise: float, fall: float, life: int = 0) -> None:
        super().__init__(32)
        self._rise, self._fall, self._life = rise, fall, life
        self._ceiling, self._left = float("inf"), 0

    def ran(self) -> None:
        """Creep up."""
        self._left -= 1
        if self._left <= 0:
            self._ceiling = float("inf")
        self.size = min(CAP, max(self.size, min(self.size + self._rise, self._ceiling * 0.95)))

    def failed(self) -> None:
        """Fall back."""
        if self._life:
            self._ceiling, self._left = self.size, self._life
        self.size = max(1.0, self.size * self._fall)


SIZERS: dict[str, Callable[[], Sizer]] = {
    "halve, never grow (toma, Composer)": lambda: Shrinking(0.5),
    "x0.9, never grow (accelerate)": lambda: Shrinking(0.9),
    "double, halve, ceiling for ever (deepmd-kit)": Doubling,
    "AIMD +1, x0.5": lambda: Aimd(1, 0.5),
    "AIMD +8, x0.9": lambda: Aimd(8, 0.9),
    "AIMD +8, x0.8, ceiling for 20 steps": lambda: Aimd(8, 0.8, 20),
}


def _shrink(lower: Callable[[int], int]) -> Search:
    size = CAP
    while size >= 1:
        if (yield size):
            return size
        size = lower(size)
    return 0


def _near(best: int, failed: int) -> bool:
    return failed - best <= 1 or (failed - best) / failed <= 0.05
