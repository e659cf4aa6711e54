"""An interrupt that comes while a step that failed winds up leaves no reference cycle.

The first error is recorded until all ubatches have ended. Its frames lead to the record; so whatever ends the
step has to let the record go, or the batch stays until the garbage collector comes by.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from microbatch import wrap
from tests.core.step.test_no_garbage import (
    ROWS,
    WAYS,
    is_interrupted,
    no_collection,
    raises_in_one_part,
)
from tests.support.interrupts import Interrupt, in_thread_of_its_own, strikes

SCHEDULES = ("microbatch/schedules/", "microbatch/turns/failure.py", "microbatch/turns/workers.py")
"""Where a step winds up, by a part of the file name."""
STRIKES = 80
"""Bytecodes that are struck, of each function under each schedule."""


@in_thread_of_its_own
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way.values()))
@pytest.mark.parametrize("function", [is_interrupted, raises_in_one_part], ids=lambda each: each.__name__)
def test_nothing_is_left_to_the_collector(function: Callable[[Any], Any], way: dict[str, Any]) -> None:
    if "driver" in way:
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    with warnings.catch_warnings(), wrap(function, num_ubatches=4, verify="never", **way) as wrapper:
        warnings.simplefilter("ignore")

        def step() -> None:
            with contextlib.suppress(ValueError, KeyboardInterrupt):
                wrapper(ROWS)

        step()
        with no_collection():
            gc.freeze()  # what there is now is not looked at again: a collection takes a millisecond then
            try:
                left = [at for at in strikes(step, STRIKES, SCHEDULES) if _circles_after(step, at)]
            finally:
                gc.unfreeze()
    assert not left, f"interrupts before these bytecodes left garbage: {left}"


def _circles_after(step: Callable[[], None], at: int) -> bool:
    """Whether a step that is interrupted before that bytecode leaves something of ours to the collector."""
    with Interrupt(at, SCHEDULES, as_signals=True):
        step()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    found = any(isinstance(each, BaseException) for each in gc.garbage)
    gc.set_debug(0)
    gc.garbage.clear()
    gc.collect()
    return found
