"""Loops as one writes them by hand, in all the ways that are fast somewhere.

Invariant: each variant gives the rows of the plain call. `cat` joins the parts at the end; `fresh` writes
them into a result made for this call, `kept` into one that is used again and again; by one worker, or by two
who take the next part when they are done with one.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.timing import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A function on rows, and what a loop around it must know."""

    function: Callable[..., Any]
    """It returns an array or a tuple of arrays, a row for each row."""
    inputs: tuple[Any, ...]
    """Arrays with the same number of rows."""
    join: Callable[[list[Any]], Any]
    """Puts the outputs of the parts together."""
    empty: Callable[[], tuple[Any, ...]]
    """The arrays of a result, with nothing written to them."""

    def part(self, start: int, size: int) -> tuple[Any, ...]:
        """The outputs for some rows, as a tuple."""
        found = self.function(*(leaf[start : start + size] for leaf in self.inputs))
        return found if isinstance(found, tuple) else (found,)

    def starts(self, size: int) -> range:
        """Where the parts begin."""
        return range(0, len(self.inputs[0]), size)


def variants(work: Work, sizes: Sequence[int], workers: Sequence[str] = ("one", "two")) -> dict[str, Variant]:
    """Name -> loop: `cat 8192`, `one fresh 8192`, `one kept 8192`, `two fresh 8192`, ..."""
    kept, pool = work.empty(), ThreadPoolExecutor(2, initializer=with_one_core)  # its threads live on
    fills = {"one": partial(_take_all, work), "two": partial(_fill_by_two, work, pool)}
    loops: dict[str, Variant] = {}
    for size in sizes:
        loops[f"cat {size}"] = lambda size=size: _joined(work, size)
        for many in workers:
            fill = fills[many]
            loops[f"{many} fresh {size}"] = lambda size=size, fill=fill: fill(size, work.empty())
            loops[f"{many} kept {size}"] = lambda size=size, fill=fill: fill(size, kept)
    return loops


def with_one_core() -> None:
    """Let each of two threads have one core in torch, where torch is there: it would use all in both."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


def _joined(work: Work, size: int) -> Any:
    cut = [tuple(leaf[start : start + size] for leaf in work.inputs) for start in work.starts(size)]
    return work.join([work.function(*part) for part in cut])


def _fill_by_two(work: Work, pool: ThreadPoolExecutor, size: int, results: tuple[Any, ...]) -> Any:
    queue = deque(work.starts(size))
    one, other = (pool.submit(_take_all, work, size, results, queue) for _ in range(2))
    other.result()
    return one.result()


def _take_all(work: Work, size: int, results: tuple[Any, ...], queue: deque[int] | None = None) -> Any:
    """Fill the results with the parts of the queue; without one, with all parts."""
    queue = deque(work.starts(size)) if queue is None else queue
    while True:
        try:
            start = queue.popleft()
        except IndexError:
            return results if len(results) > 1 else results[0]
        for result, part in zip(results, work.part(start, size), strict=True):
            result[start : start + size] = part
