"""What a step does grows with the number of its parts, and not faster: counted in bytecodes, not in time.

Loops inside of one bytecode (`sum` of a list) are not seen here; `test_progress.py` counts additions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.binding.rules import Layout, collect, query_start_loc, reduce, replicate, tokens
from tests.support.interrupts import OUR_PACKAGES, Interrupt, in_thread_of_its_own

FEW, TIMES = 20, 20
"""Parts of the smaller step, and how many times as many the larger one has."""

Make = Callable[[int], tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]
"""make(parts) -> function, arguments, options."""


def nothing(done: int, total: int) -> None:
    pass


def rows(parts: int) -> Any:
    return np.ones((4 * parts, 2))


def hungry(x: Any) -> Any:
    if len(x) > 1:
        raise MemoryError("no room")
    return x


def returning(rule: Any) -> Layout:
    return Layout(inputs={"0": tokens()}, outputs={"": rule})


def by_requests(splitter: str) -> Make:
    layout = Layout(inputs={"0": tokens(), "1": query_start_loc()}, outputs={"": tokens()})
    options = {"layout": layout, "splitter": splitter}
    return lambda parts: (lambda x, starts: x, (rows(parts), np.arange(parts + 1) * 4), options)


def half_recorded(parts: int) -> Any:
    """Every other part is one that autograd records."""
    torch = pytest.importorskip("torch")
    calls: list[None] = []

    def function(x: Any) -> Any:
        calls.append(None)
        return x * 2 if len(calls) % 2 else x.detach()

    return function, (torch.ones(4 * parts, 2, requires_grad=True),), {}


KINDS: Mapping[str, Make] = MappingProxyType(
    {
        "one array": lambda parts: (lambda x: x, (rows(parts),), {}),
        "told of": lambda parts: (lambda x: x, (rows(parts),), {"progress": nothing}),
        "streamed": lambda parts: (lambda x: x * 2, (rows(parts),), {"schedule": "streamed"}),
        "several outputs": lambda parts: (lambda x: {"a": x, "b": (x, x)}, (rows(parts),), {}),
        "lists": lambda parts: (lambda x: x[:], ([1.0] * 4 * parts,), {"layout": returning(tokens())}),
        "collected": lambda parts: (len, (rows(parts),), {"layout": returning(collect())}),
        "reduced": lambda parts: (len, (rows(parts),), {"layout": returning(reduce(lambda v, w: 0))}),
        "constant": lambda parts: (lambda x: 7, (rows(parts),), {"layout": returning(replicate())}),
        "into out": lambda parts: (lambda x: x * 2, (rows(parts),), {"out": np.empty((4 * parts, 2))}),
        "requests cut": by_requests("even"),
        "whole requests": by_requests("request-aligned"),
        "packed requests": by_requests("packed"),
        "every part fails": lambda parts: (hungry, (rows(parts),), {}),
        "some recorded by autograd": half_recorded,
    }
)  # fmt: skip


class Bytecodes(Interrupt):
    """Counts the bytecodes of our frames in this thread."""

    def __init__(self) -> None:
        super().__init__(0, ours=OUR_PACKAGES)


def cost(make: Make, parts: int) -> int:
    """Bytecodes of a step of so many parts; the second step, so that nothing of set-up is in it."""
    function, args, options = make(parts)
    out = options.pop("out", None)
    options = {"schedule": "sequential", "num_ubatches": parts, "policy": "fixed", **options}
    with microbatch.wrap(function, verify="never", **options) as wrapped:
        wrapped(*args, out=out)
        with Bytecodes() as counting:
            wrapped(*args, out=out)
        assert wrapped.last_report is not None and len(wrapped.last_report.sizes) == parts
    return counting.seen


@in_thread_of_its_own
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_costs_the_same_among_many_parts(kind: str) -> None:
    few, many = cost(KINDS[kind], FEW), cost(KINDS[kind], TIMES * FEW)
    assert few > 10 * FEW, "nothing was counted"
    assert many < 1.25 * TIMES * few, f"{TIMES} times the parts took {many / few:.1f} times the bytecodes"
