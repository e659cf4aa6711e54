"""Eight torch operations on 64 MiB: against hand loops, and against `torch.compile`, alone and wrapped.

First results are taken in fresh processes with an empty cache of compiled code, torch imported before the
clock starts: `python -m benchmarks.peer_chain first compiled`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

import microbatch
from benchmarks import workloads
from benchmarks.cpu import chosen, settled
from benchmarks.hand_loops import Work, variants
from benchmarks.installed import missing_compiler, unless
from benchmarks.table import Row, ratio_row
from benchmarks.timing import Timed, best_of, interleave

SHAPE = (16384, 1024)
SIZES = (64, 128, 256, 512, 1024)
"""Rows of a part of a hand loop; 256 are 1 MiB."""
WORK = "torch, 8 elementwise ops, 64 MiB"
FIRSTS = 3
"""Fresh processes of each side."""


def rows() -> Sequence[Row]:
    """Hand loops, then what is compiled, then first results."""
    import torch

    torch.manual_seed(0)
    x = torch.randn(SHAPE)
    wrapped = settled(workloads.torch_chain, x)
    why = missing_compiler()
    return [
        *by_hand(wrapped, x),
        *unless(why, WORK, "`torch.compile`", lambda: [*compiled(wrapped, x), first_results()]),
    ]


def work_of(x: Any) -> Work:
    """What the hand loops run."""
    import torch

    return Work(
        function=workloads.torch_chain, inputs=(x,), join=torch.cat, empty=lambda: (torch.empty_like(x),)
    )


def by_hand(wrapped: microbatch.UBatchWrapper, x: Any) -> Sequence[Row]:
    """A loop that joins, and one with a result made beforehand; torch itself uses all cores in both."""
    import torch

    timed = interleave(
        {
            "plain": lambda: workloads.torch_chain(x),
            "ours": lambda: wrapped(x),
            **variants(work_of(x), SIZES, workers=("one",)),
        },
        rounds=7,
        same=torch.equal,
    )
    return [
        _row("best hand loop + cat", 2, best_of(timed, "cat"), timed, chosen(wrapped)),
        _row("best hand loop into a fresh result", 1.35, best_of(timed, "one fresh"), timed, chosen(wrapped)),
    ]


def _row(
    against: str, at_least: float, base: Timed, timed: Mapping[str, Timed], details: Mapping[str, Any]
) -> Row:
    facts = {"best": base.name, "plain_ms": round(timed["plain"].median * 1e3, 1), **details}
    ours = timed["ours"].median
    return ratio_row(WORK, against, at_least=at_least, base=base.median, ours=ours, details=facts)


def compiled(wrapped: microbatch.UBatchWrapper, x: Any) -> Sequence[Row]:
    """Warm, each call with a fresh result: ours on the plain function, and ours on the compiled one."""
    import torch

    alone, inside = (torch.compile(_copied(workloads.torch_chain)) for _ in range(2))
    alone(x)
    around = settled(inside, x)
    timed = interleave(
        {
            "plain": lambda: workloads.torch_chain(x),
            "ours": lambda: wrapped(x),
            "compiled": lambda: alone(x),
            "around": lambda: around(x),
        },
        rounds=15,
        same=torch.allclose,
    )
    base = timed["compiled"]
    itself = ratio_row(
        "wrap(torch.compile(f)), the same 8 ops",
        "itself, not wrapped",
        at_least=0.97,
        base=base.median,
        ours=timed["around"].median,
        details=chosen(around),
    )
    return [_row("`torch.compile`, warm, fresh result", 1.0, base, timed, chosen(wrapped)), itself]


def _copied(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with code of its own: what is compiled for one is not found by the other."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__.replace(), function.__globals__, function.__name__)


def first_results() -> Row:
    """Until the first result of a new process is there."""
    ours, theirs = ([_first(side) for _ in range(FIRSTS)] for side in ("ours", "compiled"))
    return ratio_row(
        WORK,
        "`torch.compile`, first result",
        at_least=20,
        base=statistics.median(theirs),
        ours=statistics.median(ours),
    )


def _first(side: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.peer_chain", "first", side],
            env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder},
            check=True,
            capture_output=True,
            text=True,
        )
    return float(done.stdout.splitlines()[-1])


def first(side: str) -> float:
    """Seconds until the first result of this process."""
    import torch

    x = torch.randn(SHAPE)
    started = time.perf_counter()
    made = (
        torch.compile(workloads.torch_chain) if side == "compiled" else microbatch.wrap(workloads.torch_chain)
    )
    made(x)
    return time.perf_counter() - started


if __name__ == "__main__":
    if sys.argv[1:2] == ["first"]:
        print(first(sys.argv[2]))
    else:
        from benchmarks.table import show

        show("Eight torch operations", rows())
