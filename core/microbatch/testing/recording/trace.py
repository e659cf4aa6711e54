"""What happened on a recorded device: one entry for each launch, event, wait, host access and hand-off.

Invariant: entries stand in the order in which the host made the calls. An entry is one tuple and one append,
so recording may stay on in every test; nothing is checked until somebody asks.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Hashable, Sequence
from types import CodeType, FrameType
from typing import Literal, NamedTuple

from microbatch.turns.context import current_ubatch

HIDDEN = ("microbatch.testing", "numpy", "contextlib")
"""Packages and modules that are the test devices and NumPy rather than the program."""

Kind = Literal[
    "launch", "record", "wait", "sync_stream", "sync_event", "sync_device", "alloc", "host", "signal",
    "wait_host",
]  # fmt: skip
"""launch: work for a stream; alloc: a block comes to a stream; host: the host touches memory; signal and
wait_host: a hand-off between host threads."""


class Access(NamedTuple):
    """Bytes of one block that an entry touches."""

    block: Hashable
    """The block: its bytes, not its owner, so that reuse is seen."""
    low: int
    """First byte."""
    high: int
    """Byte after the last."""
    write: bool
    """Whether it writes."""
    exact: bool = True
    """False where the range bounds a view of more than 64 runs."""


class TraceEntry(NamedTuple):
    """One thing that happened."""

    kind: Kind
    """What."""
    thread: Hashable
    """The host thread that made the call."""
    stream: Hashable = None
    """The stream it was for."""
    token: Hashable = None
    """The event, gate or task."""
    accesses: tuple[Access, ...] = ()
    """The memory it touches."""
    label: str = ""
    """The operation."""
    place: str = ""
    """file:line of the call."""
    ubatch: int | None = None
    """The ubatch that made the call, None outside a step."""


class _Identity(threading.local):
    """A number for each thread that is never given again, unlike the system's."""

    def __init__(self, numbers: itertools.count[int]) -> None:
        self.number = next(numbers)


class Trace:
    """A list of entries, and who adds to it. `identity` tells host threads apart; None: the real ones.

    `hidden` are packages and modules whose frames are never the place of a call.
    """

    def __init__(
        self, identity: Callable[[], Hashable] | None = None, hidden: Sequence[str] = HIDDEN
    ) -> None:
        self.entries: list[TraceEntry] = []
        self._threads = _Identity(itertools.count())
        self._identity = identity
        self._hidden = tuple(hidden)
        self._outside: dict[CodeType, bool] = {}

    def add(
        self,
        kind: Kind,
        stream: Hashable = None,
        token: Hashable = None,
        accesses: Sequence[Access] = (),
        label: str = "",
    ) -> None:
        """Append an entry for the calling thread, with its place and ubatch."""
        context = current_ubatch()
        identity = self._identity
        self.entries.append(
            TraceEntry(
                kind,
                self._threads.number if identity is None else identity(),
                stream,
                token,
                tuple(accesses),
                label,
                self._place(),
                None if context is None else context.ubatch_id,
            )
        )

    def clear(self) -> None:
        """Forget everything. Only between steps: what came before can then be in no race."""
        self.entries.clear()

    def _place(self) -> str:
        """Where the nearest frame outside the test devices and NumPy is."""
        known = self._outside
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            code = frame.f_code
            outside = known.get(code)
            if outside is None:
                outside = known[code] = not self._is_hidden(str(frame.f_globals.get("__name__", "")))
            if outside:
                return f"{code.co_filename}:{frame.f_lineno}"
            frame = frame.f_back
        return ""

    def _is_hidden(self, name: str) -> bool:
        return any(name == hidden or name.startswith(f"{hidden}.") for hidden in self._hidden)
