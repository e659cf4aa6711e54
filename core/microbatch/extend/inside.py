"""A block that is left wherever an interrupt strikes, also between entering it and the first line inside.

Invariant: the block is left at least once after it was entered, before the error goes on to the caller.
`with` alone does not say so: where the interrupt comes on the way out of `__enter__`, or at the first
bytecode of `__exit__`, nobody leaves, and what the block has set for the thread or the process stays set for
good. So what a backend gives for this may be left more than once and without having been entered; leaving
then does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

__all__ = ["inside", "undone_on_error"]

Answer = TypeVar("Answer")
Entered = TypeVar("Entered")


def inside(block: AbstractContextManager[Entered], work: Callable[[Entered], Answer]) -> Answer:
    """What `work` returns inside `block`, given what entering returned; raises what it raises."""
    try:
        try:
            return work(block.__enter__())
        finally:
            block.__exit__(None, None, None)
    finally:
        block.__exit__(None, None, None)


def undone_on_error(work: Callable[[], Answer], undo: Callable[[], object]) -> Answer:
    """What `work` returns; where it raises, `undo` is called, which may be called more than once."""
    try:
        try:
            return work()
        except BaseException:
            undo()
            raise
    except BaseException:
        undo()  # again: an interrupt may have come before it was done
        raise
