"""Whether calls of a function may overlap or be cut at all, as far as the modules that it refers to show.

Invariant: in doubt the answer is "no". A module in training mode updates running statistics and draws random
numbers, so its parts must not run side by side; one whose buffers change during a call keeps state. Modules
are told by what they have (`training` and `buffers`), since core imports no framework. They are looked for in
the function itself and in what it visibly refers to.
"""

from __future__ import annotations

import weakref
from typing import Any

from microbatch.arrays.hidden_rows import is_module
from microbatch.arrays.memory import version_of
from microbatch.proof.reachable import reachable


def modules_of(function: Any) -> tuple[Any, ...]:
    """The stateful modules that `function` is or visibly refers to."""
    values = [function, *(value for _, value, _ in reachable(function))]
    return tuple({id(value): value for value in values if is_module(value)}.values())


def buffer_versions(modules: tuple[Any, ...]) -> tuple[int | None, ...]:
    """Write counters of all buffers; two unequal answers mean that something was written in between."""
    return tuple(version_of(buffer) for module in modules for buffer in module.buffers())


class StateWatch:
    """Watches the buffers of the modules that a function refers to, over its first steps.

    It answers two questions before each step. `why_whole`: must the step not be cut? In training mode the
    first step runs whole. If that changed buffers (running statistics), rows depend on each other, and no
    later step is cut while the module trains. `why_sequential`: must the parts not overlap? They must not in
    training mode, nor once a step changed buffers, nor in the first step of a module with buffers: parts side
    by side could lose writes to them before that is seen.
    """

    __slots__ = ("_calls_left", "_changed", "_references", "_seen", "_trained_whole")

    def __init__(self, function: Any, calls: int = 3) -> None:
        """The first `calls` steps are watched; later ones need not spend the time of reading all counters."""
        # weakly: a method's own object may be one, and must not live for its steps
        self._references = tuple(map(weakref.ref, modules_of(function)))
        self._calls_left = calls if self._references else 0
        self._changed = False
        self._seen = False
        self._trained_whole = False

    @property
    def found(self) -> bool:
        """Whether the function refers to any module."""
        return bool(self._references)

    @property
    def _modules(self) -> tuple[Any, ...]:
        """Those that are still there."""
        return tuple([module for reference in self._references if (module := reference()) is not None])

    def modes(self) -> tuple[bool, ...]:
        """Whether each module is in training mode."""
        return tuple([bool(module.training) for module in self._modules])

    def before(self) -> tuple[int | None, ...] | None:
        """What the counters are before a step, for `after`; None when there is nothing left to watch."""
        return buffer_versions(self._modules) if self._calls_left > 0 else None

    def after(self, snapshot: tuple[int | None, ...] | None) -> None:
        """Note after a step whether it changed buffers."""
        if snapshot is None:
            return
        self._calls_left -= 1
        self._seen = True
        self._trained_whole = self._trained_whole or self._training()
        self._changed = self._changed or buffer_versions(self._modules) != snapshot

    def why_whole(self) -> str:
        """Why the next step must not be cut; empty where it may."""
        if not self._training():
            return ""
        if not self._trained_whole:
            self._calls_left = max(self._calls_left, 1)
            return (
                "a module is in training mode: its first step is not cut, to see whether it changes buffers"
            )
        if self._changed:
            return "a module in training mode changes its buffers, so rows depend on each other"
        return ""

    def why_sequential(self) -> str:
        """Why the ubatches of the next step must not overlap; empty where they may."""
        if self._training():
            return "a module is in training mode"
        if self._changed:
            return "a module changes its buffers from step to step"
        if not self._seen and buffer_versions(self._modules):
            return "this is the first step of a module with buffers, which it may change"
        return ""

    def _training(self) -> bool:
        return any(module.training for module in self._modules)
