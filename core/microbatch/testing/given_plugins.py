"""Backends and policies given as objects, for wrappers under test.

Invariant: what is given is what the step gets, the very object; everything else is looked up as usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microbatch.extend.protocols import Backend, SizingPolicy
from microbatch.loading.plugins import Plugins, default_plugins


class GivenBackends(Plugins):
    """`UBatchWrapper(f, plugins=GivenBackends(device), backend=device.name)` runs on `device`.

    Backends that are not given are those of the process: looking one up anew takes 5 ms, longer than a step.
    """

    __slots__ = ("_given",)

    def __init__(self, *backends: Backend) -> None:
        super().__init__()
        self._given = {backend.name: backend for backend in backends}

    def backend(self, name: str) -> Backend:
        """The given backend of that name, else the process's."""
        return self._given[name] if name in self._given else default_plugins().backend(name)

    def backend_for(self, leaves: Sequence[object]) -> Backend:
        """The first given backend that owns one of `leaves`, else the process's."""
        owners = (backend for backend in self._given.values() if any(map(backend.owns, leaves)))
        return next(owners, None) or default_plugins().backend_for(leaves)


class GivenPolicy(GivenBackends):
    """`wrap(f, plugins=GivenPolicy(policy))` asks `policy`, whatever its name; backends may be given too."""

    __slots__ = ("_policy",)

    def __init__(self, policy: SizingPolicy, *backends: Backend) -> None:
        super().__init__(*backends)
        self._policy = policy

    def policy(self, name: str, /, **options: Any) -> SizingPolicy:
        """The given policy."""
        return self._policy

    def listeners(self) -> bool:
        """Nobody hears of steps under test."""
        return False
