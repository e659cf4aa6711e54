"""Graphs of a simulated device: work is captured once, and launched again at each replay.

Invariant: the work runs once before it is captured, and both happen on streams of the capture's own, so that
eager work of other threads cannot come in between. A capture that fails leaves no stream capturing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from microbatch.testing.simulated.capture import Capture, CapturedMark, CaptureRefusedError
from microbatch.testing.simulated.device import LANES, SimulatedDevice
from microbatch.testing.simulated.streams import SimulatedEvent, SimulatedStream, StreamDevice

__all__ = ["SimulatedGraph", "begin_capture", "capture_graph", "end_capture"]


class SimulatedGraph:
    """Captured work."""

    def __init__(self, device: SimulatedDevice, capture: Capture) -> None:
        self._device = device
        self._capture = capture

    def replay(self) -> None:
        """Launch work of the first stream on the current one, the rest on streams of the graph's own."""
        device = self._device
        if device.in_capture:
            raise CaptureRefusedError("cannot launch a graph during a capture")
        streams = self._streams()
        events: dict[CapturedMark | None, SimulatedEvent] = {}
        for call in self._capture.calls:
            stream = streams[call.stream]
            if call.launch is not None:
                label = f"graph: {call.launch.label}"
                device.enqueue(stream, dataclasses.replace(call.launch, label=label))
            elif call.kind == "record":
                event = events[call.mark] = device.event()
                event.record(stream)
            else:
                stream.wait(events[call.mark])

    def bytes_held(self) -> int:
        """Nothing beyond its pool."""
        return 0

    def _streams(self) -> dict[int, SimulatedStream]:
        """Number of a stream of the capture -> the stream that its work is launched on now."""
        device, capture = self._device, self._capture
        streams = {
            number: device.named(purpose.replace("capture", "graph"))
            for number, purpose in capture.purposes.items()
            if number != capture.origin
        }
        return streams | {capture.origin: device.current()}


def capture_graph(
    device: SimulatedDevice, work: Callable[[], Any], pool: object
) -> tuple[SimulatedGraph, Any]:
    """Run `work` once, then capture it; returns the graph and what `work` returned in the capture.

    CaptureRefusedError where a stream that took part was not joined to the first one.
    """
    device.refuse_in_capture("begin another capture")
    name = f"capture {next(device.captures)}"
    caller, origin, entry = device.current(), device.named(f"first of {name}"), device.event()
    entry.record(caller)
    origin.wait(entry)
    token = LANES.set((device, name))
    try:
        with origin.activate():
            work()
            entry.record(origin)
            caller.wait(entry)
            capture, outputs = _captured(device, origin, pool, work)
    finally:
        LANES.reset(token)
    return SimulatedGraph(device, capture), outputs


def _captured(
    device: SimulatedDevice, origin: SimulatedStream, pool: object, work: Callable[[], Any]
) -> tuple[Capture, Any]:
    """What was captured, and what `work` returned while it was."""
    capture = begin_capture(device, origin, pool)
    try:
        outputs = work()
    except BaseException:
        with suppress(CaptureRefusedError):  # says less than the error of the work
            end_capture(device, capture)
        raise
    end_capture(device, capture)
    return capture, outputs


def begin_capture(device: StreamDevice, stream: SimulatedStream, pool: object) -> Capture:
    """What `stream` is given from now on is captured; CaptureRefusedError where the thread captures now."""
    device.refuse_in_capture("begin another capture")
    capture = Capture(pool=pool, origin=stream.number)
    device.local.capturing = capture.open = True
    stream.join(capture)
    return capture


def end_capture(device: StreamDevice, capture: Capture) -> None:
    """Nothing is captured any more; CaptureRefusedError where a stream was not joined to the first one."""
    device.local.capturing = capture.open = False
    for stream in list(device.streams.values()):
        if stream.capture is capture:
            stream.capture = None
    unjoined = capture.unjoined()
    if unjoined:
        raise CaptureRefusedError(
            f"the capture ended with unjoined work on {', '.join(unjoined)}; "
            "make the first stream wait for it"
        )
