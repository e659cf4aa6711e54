"""A collective is on its way until it has ended, however late it is waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo
from microbatch.timeline import on_the_way
from microbatch.timeline.track import TRACK

pytestmark = pytest.mark.counted


class Work:
    """Something to wait for."""


@pytest.mark.parametrize("told", [True, False])
def test_its_bar_ends_when_it_has_ended_or_else_with_its_wait(told: bool) -> None:
    after: list[float] = []

    def communicating(x: Any) -> Any:
        track, work, ends = TRACK.get(), Work(), list[Callable[[], None]]()
        assert track is not None
        on_the_way.started(track, "allreduce", False, lambda: work, lambda _, call: ends.append(call))
        if told:
            ends[0]()
        after.append(track.where.runtime.monotonic())
        dbo.dbo_yield("while it is on its way")
        on_the_way.waited(track, work, lambda: None)
        return x * 2

    made = microbatch.wrap(communicating, schedule="pingpong", policy="fixed", num_ubatches=2, verify="never")
    with made as wrapper, microbatch.record() as seen:
        wrapper(np.arange(4.0))
    bars = sorted((bar for bar in seen.bars if bar.kind == "collective"), key=lambda bar: bar.start)
    assert len(bars) == len(after) == 2
    assert [bar.end <= moment for bar, moment in zip(bars, after, strict=True)] == [told, told]
    waits = [bar for bar in seen.bars if bar.phase == "wait" and bar.label == "allreduce"]
    assert {bar.ubatch: bar.end for bar in bars}.keys() == {bar.ubatch for bar in waits}
    assert all(bar.end <= wait.end for bar in bars for wait in waits if wait.ubatch == bar.ubatch)
