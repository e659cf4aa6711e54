"""The graphs of a wrapper as one step uses them: in place of the function, or of the step itself.

Invariant: one call of the function is replayed only where calls follow each other on one stream, since a graph has one
set of inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.extend.device import Device
from microbatch.graphs.captured_work import CapturedWork, one_call
from microbatch.graphs.replays import Replays
from microbatch.graphs.runner import Graphs

__all__ = ["StepGraphs"]

ONE_AFTER_THE_OTHER = ("sequential", "streamed")
"""Schedules whose calls of the function follow each other on one stream."""


class StepGraphs(Replays):
    """Called like the function; counts what it replays."""

    __slots__ = ("_call", "_graphs", "_refused")

    def __init__(self, graphs: Graphs, device: Device, schedule: str) -> None:
        super().__init__(device)
        self._graphs = graphs
        self._call = one_call(graphs.function, graphs.sizes)
        self._refused = ""
        if device.graphs is None:
            self._refused = f"the backend {device.backend.name!r} cannot capture graphs"
        elif schedule not in ONE_AFTER_THE_OTHER:
            self._refused = f"graphs are replayed one after the other, and the schedule is {schedule}"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function's outputs, replayed or not."""
        if self._refused:
            return self.plain(self._call, args, kwargs, self._refused)
        return self._graphs.call(self, self._call, args, kwargs)

    def whole(self, work: CapturedWork, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The outputs of a whole step, replayed or not."""
        if self.device.graphs is None:
            return self.plain(work, args, kwargs, self._refused)
        return self._graphs.call(self, work, args, kwargs)
