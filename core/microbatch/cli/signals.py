"""Ctrl-C and termination: stop within a second, leave nothing half done, and say so.

Invariant: within `GRACE` seconds of the first signal the process has either unwound by KeyboardInterrupt or
ended by force after `last_words`; a second signal ends it at once. Python runs its signal handlers only
between two bytecodes of the main thread, and that may sit in one long native call or wait for such a call of
a worker. So a watching thread hears of signals through the wake-up descriptor, which C writes at once.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

GRACE = 0.8
"""Seconds the main thread has to unwind by itself."""
_CLOSING = b"\0"


class Interrupts:
    """A context manager that turns SIGINT, SIGTERM and SIGHUP into one KeyboardInterrupt and an exit code.

    Outside the main thread, where no handler can be set, it does nothing.
    """

    def __init__(self, last_words: Callable[[], None]) -> None:
        """`last_words` is called from the watching thread just before it ends the process."""
        self.signal: int | None = None
        self._last_words = last_words
        self._shielded = False
        self._before: dict[int, Any] = {}
        self._watcher: threading.Thread | None = None
        self._read = self._write = self._wakeup = -1

    @property
    def exit_code(self) -> int:
        """128 + the number of the signal, as shells report it; 130 for Ctrl-C."""
        return 128 + (self.signal or signal.SIGINT)

    def shield(self) -> None:
        """Ignore what arrives from here on: the work is done, and what is left must not be torn."""
        self._shielded = True

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._watcher = threading.Thread(target=self._watch, name="microbatch-interrupts", daemon=True)
        self._watcher.start()
        for number in _heard():
            self._before[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._watcher is None:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        os.write(self._write, _CLOSING)
        self._watcher.join(timeout=5.0)
        os.close(self._read)
        os.close(self._write)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None and not self._shielded:
            self.signal = number
            raise KeyboardInterrupt

    def _watch(self) -> None:
        first: int | None = None
        while True:
            if first is not None and not select.select([self._read], [], [], GRACE)[0]:
                break
            byte = os.read(self._read, 1)
            if byte in (_CLOSING, b""):
                return
            if byte[0] not in self._before or self._shielded:
                continue
            if first is not None:
                break
            first = byte[0]
        self.signal = first
        self._last_words()
        os._exit(self.exit_code)


def _heard() -> list[int]:
    """Signals that ask to stop and are not ignored (nohup ignores SIGHUP)."""
    numbers = [signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)]
    return [number for number in dict.fromkeys(numbers) if signal.getsignal(number) is not signal.SIG_IGN]
