"""Gives a policy what it learned in earlier runs, and keeps what it learns in this one.

Invariant: the history is read once, before the first step on a backend, and written at steps 16, 64, 256 and
so on and when the wrapper ends: never in most steps. State that the policy refuses is ignored with a warning.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from microbatch.errors import warn
from microbatch.extend.abilities import SupportsState
from microbatch.extend.device import Device
from microbatch.extend.protocols import SizingPolicy
from microbatch.options.fields import UBatchConfig

if TYPE_CHECKING:
    from microbatch.sizing.history import History, HistoryKey

FRAMEWORKS = ("numpy", "torch", "cupy")
"""Libraries whose version is part of the key, where they are loaded."""


class Remembering:
    """The link between one wrapper's policy and the history file."""

    def __init__(
        self, policy: SizingPolicy, name: str, config: UBatchConfig, function: Callable[..., Any]
    ) -> None:
        self._learner = policy if config.history and isinstance(policy, SupportsState) else None
        self._name = name
        self._config = config
        self._model = model_name(function)
        self._kept: tuple[History, HistoryKey] | None = None
        self._next = 16
        self._closed = False

    @property
    def active(self) -> bool:
        """Whether there is a history to read and write."""
        return self._learner is not None

    def before(self, device: Device, capacity: int) -> None:
        """Called before each step; reads the history before the first one."""
        if self._learner is None or self._kept is not None:
            return
        history, key = self._kept = self._opened(device, capacity)
        state = history.load(key)
        if not state:
            return
        try:
            self._learner.restore(state)
        except ValueError as error:
            path = self._config.history
            text = f"history {path!r} holds state that this policy cannot use ({error}); it is ignored"
            warn(text, RuntimeWarning)

    def after(self, step: int) -> None:
        """Called after each step."""
        if step >= self._next:
            self._next *= 4
            self.keep()

    def close(self) -> None:
        """`keep` for the last time; twice is once.

        It holds nothing of the function, so the wrapper's finalizer may call it.
        """
        if not self._closed:
            self._closed = True
            self.keep()

    def keep(self) -> None:
        """Write what the policy has learned; nothing before the first step."""
        if self._learner is None or self._kept is None:
            return
        history, key = self._kept
        state = dict(self._learner.state())
        if state:
            history.save(key, state)

    def _opened(self, device: Device, capacity: int) -> tuple[History, HistoryKey]:
        """The history, and what must be equal for its state to hold."""
        from microbatch.sizing.history import History, HistoryKey  # with json: only where it is asked for

        key = HistoryKey(
            model=self._config.model or self._model,
            policy=self._name,
            backend=device.backend.name,
            capacity=capacity,
            workers=self._config.thread_pool_size,
            device="" if device.names is None else device.names.device_name(),
            graphs=self._config.graphs and device.graphs is not None,
            versions=_versions(),
        )
        return History(self._config.history or ""), key


def model_name(function: Callable[..., Any]) -> str:
    """Module and qualified name of the function, or of the class of a callable object."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _versions() -> str:
    loaded = [f"{name} {sys.modules[name].__version__}" for name in FRAMEWORKS if name in sys.modules]
    return ", ".join([f"python {platform.python_version()}", *loaded])
