"""Ctrl-C and termination: stop, leave nothing half done, and say so.

Invariant: the first signal that asks the command to end becomes one KeyboardInterrupt where there is
something to tidy up, and ends the process at once, without a word, everywhere else: while modules are still
imported, and when all is done. Further signals change nothing where a supervisor sees to the end
(`supervisor.py`); where there is none, the second one has its usual effect.
"""

from __future__ import annotations

import os

from microbatch.cli.exit_codes import SIGNALLED

TYPE_CHECKING = False  # see `app.py`
if TYPE_CHECKING:
    import signal
    from types import FrameType
    from typing import Any, Self
else:
    # The half of it that is in C and loaded already. The other half makes enumerations of the numbers: 5 ms
    # more in which Ctrl-C would be a traceback.
    import _signal as signal

STOPPING: tuple[int, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""What asks a command to end."""


def end_quietly(code: int | None = None) -> None:
    """From here on such a signal ends the process at once: with `code`, or 128 + its number.

    A KeyboardInterrupt inside an import would be a traceback, and so would a second one in its handler.
    """

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(SIGNALLED + number if code is None else code)

    for number in not_ignored():
        signal.signal(number, end)


class Interrupts:
    """A context manager that turns the first of these signals into a KeyboardInterrupt and an exit code.

    Outside the main thread, where no handler can be set, it does nothing.
    """

    def __init__(self, *, supervised: bool) -> None:
        self.signal: int | None = None
        self._supervised = supervised
        self._shielded = False
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 + the number of the signal, as shells report it; 130 for Ctrl-C."""
        return SIGNALLED + (self.signal or signal.SIGINT)

    def shield(self) -> None:
        """Ignore what arrives from here on: the work is done, and only has to be told.

        Under a supervisor this holds beyond the block, since that ends a process that does not come to its
        end.
        """
        self._shielded = True

    def __enter__(self) -> Self:
        import threading

        if threading.current_thread() is threading.main_thread():
            for number in not_ignored():
                self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._shielded and self._supervised:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._shielded:
            return
        if self.signal is None:
            self.signal = number
            raise KeyboardInterrupt
        if not self._supervised:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


def not_ignored() -> list[int]:
    """Those that count here: nohup, for one, ignores SIGHUP."""
    return [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
