"""What was replayed in one step, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from microbatch.extend.device import Device
from microbatch.graphs.captured_work import CapturedWork

__all__ = ["Replays"]


class Replays:
    """Counts of one step; `hits` and `misses` are ubatches."""

    __slots__ = ("captures", "device", "hits", "misses", "note")

    def __init__(self, device: Device) -> None:
        self.device = device
        self.hits = 0
        self.misses = 0
        self.captures = 0
        self.note = ""
        """Why the last call was not replayed; empty where it was, or may be next time."""

    def plain(self, work: CapturedWork, args: tuple[Any, ...], kwargs: Mapping[str, Any], reason: str) -> Any:
        """Run `work` as it is; `reason` is empty where it may be replayed next time."""
        self.note = reason
        self.misses += work.ubatches
        return work.plain(*args, **kwargs)
