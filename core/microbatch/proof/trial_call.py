"""One call of an experiment: what the function returned, and what it did to its arguments.

Invariant: what was returned is copied before anything else is called, since the function may use its memory
again. The arguments are copies already, so what is written into them harms nobody.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from microbatch.arrays.looks import class_of, is_array
from microbatch.arrays.trees import flatten, map_leaves
from microbatch.extend.device import Device
from microbatch.extend.protocols import Backend
from microbatch.proof.host_values import HostValues


@dataclass(frozen=True, slots=True)
class Called:
    """One call that returned."""

    output: Any
    """Its outputs, as copies."""
    returned: Any
    """The outputs themselves, kept alive so that an equal address is the same memory."""
    arguments: list[Any]
    """The arrays it was given, as they are afterwards."""
    wrote: bool
    """Whether it wrote into any of them."""
    wrote_list: bool
    """Whether it wrote into a list."""


class Arguments:
    """The arguments of one call, as they were before it."""

    def __init__(self, arguments: tuple[tuple[Any, ...], dict[str, Any]], device: Device) -> None:
        self._backend = backend = device.backend
        self._read = HostValues(device)
        leaves, _ = flatten(arguments, _is_list)
        self._lists = [leaf for leaf in leaves if _is_list(leaf)]
        self._entries = [list(leaf) for leaf in self._lists]
        self._arrays = [leaf for leaf in leaves if is_array(leaf) and leaf.shape and backend.owns(leaf)]
        # copies, although torch counts writes: it does not count those through `.data` and `.numpy()`
        self._before = [copied(array, backend) for array in self._arrays]

    def after(self, returned: Any) -> Called:
        """What the call that returned `returned` did."""
        return Called(
            output=map_leaves(lambda leaf: copied(leaf, self._backend), returned),
            returned=returned,
            arguments=self._arrays,
            wrote=not all(map(self._read.same, self._before, self._arrays)),
            wrote_list=not all(map(_same_entries, self._lists, self._entries)),
        )


def copied(leaf: Any, backend: Backend) -> Any:
    """A copy of an array; what is none, or cannot be made by the backend, as it is."""
    if not is_array(leaf) or isinstance(leaf, np.generic):
        return leaf
    try:
        made = backend.empty(leaf.shape, leaf)
        if class_of(made) is not class_of(leaf):
            return leaf
        backend.copy(made, leaf)
    except (TypeError, ValueError, AttributeError, RuntimeError):
        return leaf
    return made


def _is_list(node: Any) -> bool:
    """Whether it is a list that the function could write into."""
    return type(node) is list or type(node) is deque


def _same_entries(now: Any, before: list[Any]) -> bool:
    return len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True))
