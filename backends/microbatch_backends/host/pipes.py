"""Streams that are lent to one streamed step at a time.

Invariant: a set of streams is with one step or free, never with two. After a step that failed it is dropped:
work of that step may still run in it, and its threads end once it has. Lending is a class and no generator,
which would write to an error that passes, and that error's class may refuse it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType

from microbatch.extend.protocols import StreamPurpose
from microbatch_backends.host.streams import HostStream

HostPipe = tuple[HostStream, HostStream, HostStream]
"""Copy-in, compute and copy-out."""
MOST_PIPES = 8
"""Sets of streams kept for later steps; of more steps at the same time they are dropped afterwards."""


class Pipes:
    """Lends sets made by `make(purpose)`, which gives a new stream each time."""

    __slots__ = ("_free", "_make")

    def __init__(self, make: Callable[[StreamPurpose], HostStream]) -> None:
        self._make = make
        self._free: deque[HostPipe] = deque(maxlen=MOST_PIPES)

    def lend(self) -> AbstractContextManager[HostPipe]:
        """A set for the block."""
        return Lent(self)

    def take(self) -> HostPipe:
        """A free set, or a new one."""
        try:
            return self._free.pop()
        except IndexError:
            return self._make("copy_in"), self._make("compute"), self._make("copy_out")

    def give_back(self, pipe: HostPipe) -> None:
        """Nothing runs in `pipe` any more: it may be lent again."""
        self._free.append(pipe)

    def free(self) -> list[HostStream]:
        """The streams that no step has."""
        return [stream for pipe in tuple(self._free) for stream in pipe]


class Lent(AbstractContextManager[HostPipe]):
    """One loan."""

    __slots__ = ("_pipe", "_pipes")

    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes

    def __enter__(self) -> HostPipe:
        self._pipe = self._pipes.take()
        return self._pipe

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._pipes.give_back(self._pipe)
