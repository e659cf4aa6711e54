"""Whether calls draw random numbers; afterwards all generators are where they were.

Invariant: a function that draws random numbers is not cut, since parts would draw others than the whole call;
and an experiment takes none away from the caller. Generators of the standard library and NumPy are put back
here, those of a framework by its backend. One made inside the function cannot be seen: its numbers differ,
and so do the results. While an experiment runs, another thread that draws from the same generator may be
given numbers twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

Restore = Callable[[Any], object]


class Generators:
    """The generators that a function may draw from, and where each is now.

    A block after which they are there again; it may be left more than once.
    """

    def __init__(self, found: Iterable[Any]) -> None:
        """`found` are those that were handed in or that the function refers to; the global ones are added."""
        self._all: list[tuple[Callable[[], Any], Restore]] = [
            (_global_numpy_state, np.random.set_state),
            (random.getstate, random.setstate),
        ]
        self._all += [access for value in found if (access := access_of(value)) is not None]
        self._states = [read() for read, _ in self._all]
        self._before = [_comparable(state) for state in self._states]
        self.moved = False
        """Whether any had moved when they were put back."""

    def __enter__(self) -> None: ...

    def __exit__(self, *exc_info: object) -> None:
        self.put_back()

    def put_back(self) -> bool:
        """Put every generator back; returns whether any had moved."""
        moved = False
        for (read, restore), before, state in zip(self._all, self._before, self._states, strict=True):
            if _comparable(read()) != before:
                moved = self.moved = True
                restore(state)
        return moved


def access_of(value: Any) -> tuple[Callable[[], Any], Restore] | None:
    """How the state of a generator is read and set; None for what is no generator."""
    if isinstance(value, type):
        return None
    if isinstance(value, np.random.Generator):
        value = value.bit_generator
    if isinstance(value, np.random.BitGenerator):
        bits: Any = value
        return (lambda: bits.state), (lambda state: setattr(bits, "state", state))
    if isinstance(value, random.Random):
        return value.getstate, value.setstate
    named = type(value).__name__ in (
        "Generator",
        "RandomState",
    )  # others have states too
    if named and callable(getattr(value, "get_state", None)) and callable(getattr(value, "set_state", None)):
        return value.get_state, value.set_state
    return None


def _global_numpy_state() -> Any:
    return np.random.get_state()


def _comparable(state: Any) -> Any:
    """A state as a value that compares: arrays in it become bytes."""
    if isinstance(state, dict):
        return tuple((key, _comparable(value)) for key, value in state.items())
    if isinstance(state, (tuple, list)):
        return tuple(map(_comparable, state)) if len(state) < 16 else tuple(state)
    if isinstance(state, np.ndarray):
        return state.tobytes()
    return bytes(state.tolist()) if hasattr(state, "tolist") and hasattr(state, "shape") else state
