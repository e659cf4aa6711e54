"""The graphs of a wrapper as one step uses them: in place of the function, or of the step itself.

Invariant: one call of the function is replayed only where calls follow each other on one stream, since a
graph has one set of inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.extend.device import Device
from microbatch.graphs.captured_work import CapturedWork, Replays
from microbatch.graphs.runner import Graphs

ONE_AFTER_THE_OTHER = ("sequential", "streamed")
"""Schedules whose calls of the function follow each other on one stream."""


class StepGraphs(Replays):
    """Called like the function; counts what it replays."""

    def __init__(self, graphs: Graphs, device: Device, schedule: str) -> None:
        super().__init__(device)
        refused = ""
        if device.graphs is None:
            refused = f"the backend {device.backend.name!r} cannot capture graphs"
        elif schedule not in ONE_AFTER_THE_OTHER:
            refused = f"graphs are replayed one after the other, and the schedule is {schedule}"
        self._graphs = graphs
        self._call = CapturedWork(
            plain=graphs.function, captured=graphs.function, sizes=graphs.sizes, refused=refused
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's outputs, replayed or not."""
        return self._graphs.call(self, self._call, args, kwargs)

    def whole(self, work: CapturedWork, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The outputs of a whole step, replayed or not."""
        if self.device.graphs is None:
            return self.plain(work, args, kwargs, self._call.refused)
        return self._graphs.call(self, work, args, kwargs)
