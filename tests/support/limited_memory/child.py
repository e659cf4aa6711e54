"""The child: makes everything that is not the call, sets the limit, calls, and compares with small blocks.

`python -m tests.support.limited_memory.child plain|wrapped CASE FOLDER [GROUP]`. It prints `right` and ends
with 0, or does not.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import microbatch
from microbatch.host.proc import STATUS, kibibytes
from tests.support.limited_memory import groups
from tests.support.limited_memory.cases import Case
from tests.support.limited_memory.functions import Work

BLOCK = 1 << 20
"""Bytes that the rows of a block of the expected result need."""


def main(how: str, text: str, folder: str, group: str = "") -> None:
    """Run one case; `how` is plain or wrapped."""
    if group:
        groups.join(Path(group))
    case = Case.read(text)
    work, x = case.work(), _input(case, Path(folder))
    expected = _blockwise(work, x)
    wrapped = microbatch.wrap(work.function, **case.options)
    for _ in range(case.calls):
        result = _limited(case, group, lambda: work.function(x) if how == "plain" else wrapped(x))
        _check(expected, _leaves(result))
        del result
    print("right", flush=True)
    wrapped.shutdown()


def _input(case: Case, folder: Path) -> Any:
    """The input, as the function takes it; a mapped file where the case says so."""
    x = case.input()
    if case.from_file:
        np.save(folder / "input.npy", x)
        x = np.load(folder / "input.npy", mmap_mode="r+")
    if case.work().torch:
        import torch

        return torch.from_numpy(x)
    return x


def _leaves(result: Any) -> list[Any]:
    """The arrays of a result."""
    leaves = list(result.values()) if isinstance(result, dict) else [result]
    return [np.asarray(leaf) for leaf in leaves]


def _blockwise(work: Work, x: Any) -> list[Any]:
    """What the function gives for block after block, none of which needs much."""
    first = _leaves(work.function(x[:1]))
    expected = [np.empty((len(x), *leaf.shape[1:]), leaf.dtype) for leaf in first]
    rows = max(1, BLOCK // work.per_row)
    for start in range(0, len(x), rows):
        for whole, block in zip(expected, _leaves(work.function(x[start : start + rows])), strict=True):
            whole[start : start + rows] = block
    return expected


def _check(expected: list[Any], found: list[Any]) -> None:
    """Raise AssertionError unless both are the same."""
    assert [leaf.shape for leaf in found] == [leaf.shape for leaf in expected]
    assert [leaf.dtype for leaf in found] == [leaf.dtype for leaf in expected]
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one, other, rtol=1e-4, atol=1e-5), "other numbers"


def _limited(case: Case, group: str, call: Callable[[], Any]) -> Any:
    """The result of `call`, which has the room of the case beside what is in use now."""
    _limit(group, case.room)
    result = call()
    _limit(group, None)
    return result


def _limit(group: str, room: int | None) -> None:
    """Leave `room` bytes more than there are in use now; None takes the limit away."""
    if group:
        groups.limit(Path(group), room)
        return
    size = resource.RLIM_INFINITY if room is None else kibibytes(STATUS)["VmSize"] + room
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(*sys.argv[1:])
