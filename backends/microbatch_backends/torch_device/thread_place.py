"""The device and stream a thread launches on, as a value that another thread can take over.

Invariant: after `leave` the thread's device is as before `enter`, and so are its current streams on that
device and on the one that was entered. torch has a current stream for each device and thread, and setting one
makes its device the current device.
"""

from __future__ import annotations

from typing import Any

from microbatch_backends.torch_device.device_module import DeviceModule

__all__ = ["ThreadPlace"]


class ThreadPlace:
    """Reads and sets where the calling thread launches, on one device module."""

    __slots__ = ("_module",)

    def __init__(self, module: DeviceModule) -> None:
        self._module = module

    def read(self) -> tuple[int, Any]:
        """The calling thread's device, and its stream there."""
        return self._module.index(), self._module.current_stream()

    def enter(self, value: tuple[int, Any]) -> list[Any]:
        """Set device and stream in the calling thread; returns the streams that `leave` sets again."""
        index, stream = value
        own = self._module.index()
        # the thread's own device comes last: the stream that is set last decides which device is current
        before = [self._module.current_stream(device) for device in dict.fromkeys((index, own))]
        self._module.set_stream(stream)
        return before

    def leave(self, before: list[Any]) -> None:
        """Undo `enter`."""
        for stream in before:
            self._module.set_stream(stream)
