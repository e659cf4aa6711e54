"""A step leaves no reference cycle behind, whatever happens in it: memory goes when its last user goes.

A cycle keeps the arrays of a step, and the descriptors of its gates, until the garbage collector comes by.
"""

from __future__ import annotations

import contextlib
import gc
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from microbatch import current_ubatch, dbo, wrap
from microbatch.turns.roster import END, Roster, Worker
from microbatch.turns.runtime import default_runtime

ROWS = np.arange(80.0).reshape(20, 4)
WAYS: list[Any] = [
    {"schedule": "sequential"},
    {"schedule": "parallel"},
    {"schedule": "pingpong"},
    {"schedule": "pingpong", "driver": "greenlets"},
    {"schedule": "streamed"},
]
KEPT: list[Any] = []


def doubles(x: Any) -> Any:
    dbo.dbo_yield()
    return x * 2


def raises_in_one_part(x: Any) -> Any:
    dbo.dbo_yield()
    if x[0, 0] > 30:
        raise ValueError("one part")
    dbo.dbo_yield()
    return x * 2


def raises_with_a_cause(x: Any) -> Any:
    try:
        dbo.dbo_yield()
        {}["missing"]
    except KeyError as error:
        raise ValueError("each part") from error


def is_interrupted(x: Any) -> Any:
    dbo.dbo_yield()
    if x[0, 0] > 30:
        raise KeyboardInterrupt
    return x * 2


def runs_out_of_memory_above_two_rows(x: Any) -> Any:
    dbo.dbo_yield()
    if len(x) > 2:
        raise MemoryError("too many rows")
    return x * 2


def never_fits(x: Any) -> Any:
    raise MemoryError("never")


def leaves_a_hook_that_never_runs(x: Any) -> Any:
    context = current_ubatch()
    dbo.dbo_register_recv_hook(lambda: (context, x))
    raise ValueError("before the hook")


def mixes_rows(x: Any) -> Any:
    return x - x.mean(0)


def keeps_its_context(x: Any) -> Any:
    KEPT.append(current_ubatch())
    dbo.dbo_yield()
    return x * 2


FUNCTIONS = [
    doubles,
    raises_in_one_part,
    raises_with_a_cause,
    is_interrupted,
    runs_out_of_memory_above_two_rows,
    never_fits,
    leaves_a_hook_that_never_runs,
    mixes_rows,
    keeps_its_context,
]


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def garbage_of(step: Callable[[], object]) -> list[str]:
    """The types of the objects that only a collection would find after three steps."""
    with no_collection():
        for _ in range(3):
            step()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.garbage.clear()
        gc.collect()
        return sorted(type(each).__name__ for each in gc.garbage)


@pytest.mark.parametrize("verify", ["never", "first"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way.values()))
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_a_step_leaves_no_cyclic_garbage(
    function: Callable[[Any], Any], way: dict[str, Any], verify: str
) -> None:
    """The first step too, in which the function is tried."""
    if "driver" in way:
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")

    def step() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with wrap(function, num_ubatches=4, verify=verify, **way) as wrapper:
                for _ in range(2):
                    with contextlib.suppress(ValueError, MemoryError, KeyboardInterrupt):
                        wrapper(ROWS)

    step()
    assert not garbage_of(step)
    KEPT.clear()


def test_a_roster_that_is_closed_while_a_worker_leaves_is_no_cycle() -> None:
    """The worker may be told to end when it has just ended: that claim is never taken back."""

    def step() -> None:
        roster = Roster(default_runtime())
        worker = Worker(roster.runtime.gate(), "a worker")
        roster.workers.append(worker)
        roster.leave(worker)
        assert roster.take(worker, END)

    assert not garbage_of(step)


@pytest.mark.case(44)
def test_a_context_that_is_kept_holds_no_descriptor() -> None:
    """Model code may keep the ubatch it ran in; its gate goes when the step ends."""
    with wrap(keeps_its_context, num_ubatches=4, schedule="pingpong", verify="never") as wrapper:
        wrapper(ROWS)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            wrapper(ROWS)
        assert len(KEPT) == 84
        assert len(os.listdir("/proc/self/fd")) <= before + 3
    KEPT.clear()
