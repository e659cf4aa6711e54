"""Gives a policy what it learned in earlier runs, and keeps what it learns in this one.

Invariant: the history is read once, before the first step on a backend, and written at steps 16, 64, 256 and
so on and when the wrapper ends: never in most steps. Nothing of it fails a step: what the file, the policy or
the device raises is one warning, also where warnings are errors, and from then on nothing is remembered. What
a policy was given back is on trial: where it makes the policy raise later, it is taken back, once.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from microbatch.errors import warn
from microbatch.extend.abilities import SupportsState
from microbatch.extend.device import Device
from microbatch.options.fields import UBatchConfig
from microbatch.options.raised import attempted, described
from microbatch.sizing.planning import Planner

if TYPE_CHECKING:
    from microbatch.sizing.history import History, HistoryKey

FRAMEWORKS = ("numpy", "torch", "cupy")
"""Libraries whose version is part of the key, where they are loaded."""
ANEW = "sizes are learned anew and not kept in this run"
"""What follows where a history cannot be used."""


class Remembering:
    """The link between one wrapper's policy and the history file."""

    def __init__(
        self, planner: Planner, name: str, config: UBatchConfig, function: Callable[..., Any]
    ) -> None:
        policy = planner.policy
        self._learner = policy if config.history and isinstance(policy, SupportsState) else None
        self._planner = planner
        self._name = name
        self._config = config
        self._model = model_name(function) if self._learner is not None else ""
        self._kept: tuple[History, HistoryKey] | None = None
        self._next = 16
        self._closed = False
        self._tell = Teller(config.history)

    @property
    def active(self) -> bool:
        """Whether there is a history to read and write."""
        return self._learner is not None

    def before(self, device: Device, capacity: int) -> None:
        """Called before each step; reads the history before the first one."""
        if self._learner is not None and self._kept is None:
            self._safely(lambda: self._read(device, capacity))

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
        if self._learner is not None and self._kept is not None:
            self._safely(self._write)

    def _safely(self, work: Callable[[], None]) -> None:
        """Do it; whatever it raises is told, and then nothing is remembered any more."""
        _, error = attempted(work)
        if error is not None:
            self._learner = None
            self._tell(f"cannot be used ({described(error)}); {ANEW}")

    def _read(self, device: Device, capacity: int) -> None:
        history, key = self._kept = self._opened(device, capacity)
        state = history.load(key)
        if state:
            self._planner.alone(lambda: self._give_back(state))

    def _write(self) -> None:
        assert self._learner is not None and self._kept is not None
        history, key = self._kept
        state = self._planner.alone(self._learner.state)
        if state:  # there is something to keep, and nobody else asks the policy now
            history.save(key, state)

    def _give_back(self, state: Mapping[str, Any]) -> None:
        """Hand the policy what it learned, and remember how it was without."""
        learner = self._learner
        assert learner is not None
        fresh = learner.state()
        try:
            learner.restore(state)
        except ValueError as error:
            attempted(lambda: learner.restore(fresh))  # it may have taken half of it
            self._tell(f"holds state that this policy cannot use ({described(error)}); it is ignored")
        else:
            self._planner.on_trial(partial(_take_back, learner, fresh, self._tell))

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
        return History(self._config.history or "", tell=self._tell), key


def model_name(function: Callable[..., Any]) -> str:
    """Module and qualified name of the function, or of the class of a callable object."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _versions() -> str:
    modules = {name: sys.modules.get(name) for name in FRAMEWORKS}
    loaded = [f"{name} {getattr(module, '__version__', '')}" for name, module in modules.items() if module]
    return ", ".join([f"python {platform.python_version()}", *loaded])


class Teller:
    """Warns once, whoever has something to tell. A warning that is an error does not fail the step.

    An object of its own: a history that held who remembers it, and is held by that, would be a cycle.
    """

    __slots__ = ("_history", "_told")

    def __init__(self, history: str | None) -> None:
        self._history = history
        self._told = False

    def __call__(self, what: str) -> None:
        """Say `what` of the history, the first time."""
        if not self._told:
            self._told = True
            with suppress(RuntimeWarning):
                warn(f"history {self._history!r} {what}", RuntimeWarning)


def _take_back(learner: SupportsState, fresh: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """Put the policy back to what it was."""
    learner.restore(fresh)
    tell("holds state that this policy fails with; it is ignored")
