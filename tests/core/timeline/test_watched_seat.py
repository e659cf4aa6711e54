"""What a ubatch does on its communication stream is communication, on the host and on the device."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

import microbatch
from microbatch import dbo
from microbatch.timeline.watched_seat import WatchedStreams
from microbatch.turns.streams import Activation, StreamSide

pytestmark = pytest.mark.counted


def test_the_phase_follows_the_lane() -> None:
    """Also where the lane changes while the turn is passed."""

    def model(x: Any) -> Any:
        dbo.dbo_switch_to_comm()
        dbo.dbo_switch_to_compute_sync()
        dbo.dbo_yield_and_switch_from_compute_to_comm("there")
        dbo.dbo_yield_and_switch_from_comm_to_compute("back")
        return x + 1

    wrapped = microbatch.wrap(model, schedule="pingpong", policy="fixed", num_ubatches=2, backend="cpu")
    with wrapped, microbatch.record() as seen:
        wrapped(np.ones((4, 2)))
    inside = ("compute", "communicate", "yield")
    for ubatch in range(2):
        phases = [bar.phase for bar in seen.bars if bar.ubatch == ubatch and bar.phase in inside]
        assert phases == ["compute", "communicate", "compute", "yield", "communicate", "yield", "compute"]


def test_work_after_a_wait_begins_after_it() -> None:
    """The device's bar is begun anew once its stream waits for the event."""
    log: list[Any] = []
    stream = SimpleNamespace(wait=lambda event: log.append("wait"), activate=nullcontext)
    lanes = SimpleNamespace(
        pairs=[{"compute": stream, "communication": stream}], claim=lambda lane, stream: None
    )
    side = StreamSide(cast("Any", None), cast("Any", lanes), 0, Activation())
    track = SimpleNamespace(turn_into=log.append)
    streams = WatchedStreams(side, cast("Any", track))
    streams.switch("communication")
    streams.wait(cast("Any", object()))
    assert log == ["communicate", "wait", "communicate"]
    assert streams.lane == "communication"
