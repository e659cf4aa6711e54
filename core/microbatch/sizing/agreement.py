"""What the ranks of a process group tell each other before a step, and what follows from it for all of them.

Invariant: every rank sees the same numbers, so all come to the same answer: all run the step in the same
number of parts, or none runs it. A rank that fails before the step tells so too, as the others would wait for
it in a collective. Numbers only, the largest of each, so one small all-reduce is enough.

The largest number of parts wins, as a limit of memory makes more parts and must hold on the rank that has it.
Rejected: the steps' numbers among what must be equal (a step that only one rank refused would part them for
good); asking what the others want before the policy is asked (a second all-reduce); and agreeing on calls on
a few rows that show whether the function may be cut. A function that raises in one of them on one rank alone
leaves the others in a collective, where the plain call would have gone well: until the limit of their group,
which gloo then closes. They also need an all-reduce after the step, where rows are compared at its real size.
"""

from __future__ import annotations

import zlib

from msgspec import Struct

from microbatch.errors import RanksError, WaitTimeoutError
from microbatch.extend.abilities import Ranks
from microbatch.options.raised import Harmless, text_of


class Wish(Struct, frozen=True, kw_only=True):
    """What one rank says."""

    count: int = 1
    """In how many parts its policy would run the step."""
    limit: int | None = None
    """Most units in one of them; None where nothing bounds it."""
    together: int | None = None
    """Most parts that may take turns at the same time; None for any number."""
    way: int = 0
    """A number for what must be the same on all ranks (`number_of`)."""
    shape: int = 0
    """A number for the sizes of its batch, and for the slices that the caller named."""
    uncut: bool = False
    """Whether its batch must not be cut."""


class Agreed(Struct, frozen=True, kw_only=True):
    """What holds for all ranks."""

    count: int
    """Calls of the function on each rank."""
    alike: bool = False
    """Whether all ranks have batches of the same sizes, so that whatever follows from sizes is the same."""
    limit: int | None = None
    """The lowest limit of all ranks."""
    together: int | None = None
    """Most parts that take turns at the same time on each rank; None for any number."""


UNLIMITED = 1 << 62
"""Stands for no limit; numbers must fit into 64 bits."""
NUMBERS = 9
"""How many numbers each rank says."""


def number_of(*what: object) -> int:
    """A number for `what`: equal on ranks where it is the same, as good as never equal where it is not."""
    return zlib.crc32(repr(what).encode())


def agree(ranks: Ranks, wish: Wish, timeout: float | None) -> Agreed:
    """What all ranks do in this step; raises RanksError where they cannot do the same, WaitTimeoutError where
    some rank did not come within `timeout` seconds (None: the limit of the group)."""
    heard = _largest(ranks, _numbers(wish, ranks.rank), timeout)
    failed, uncut, count, lowest, at_once, way, other, shape, another = heard
    together = f"the {ranks.size} ranks of this process group run each step together"
    if failed:
        raise RanksError(
            f"rank {failed - 1} raised before its step began, and {together}, so none of them runs it; see"
            " the error of that rank"
        )
    if way != -other:
        raise RanksError(
            f"{together}, and they are not about to run the same function under the same schedule; call the"
            " same wrappers in the same order with the same options on each rank, or pass"
            " ranks='independent' where a function does not communicate"
        )
    if count > 1 and uncut:
        raise RanksError(
            f"{together}, and one of them wants {count} parts where rank {uncut - 1} must not cut its batch;"
            " set num_ubatches=1 on all ranks"
        )
    limit = None if lowest == -UNLIMITED else -lowest
    return Agreed(count=count, alike=shape == -another, limit=limit, together=at_once or None)


def while_together(ranks: Ranks) -> str:
    """A note for what a step raises that ranks run together."""
    return (
        f"raised on rank {ranks.rank} in a step that {ranks.size} ranks run together; where a collective"
        " failed or passed its limit, another rank has left it: see the error of that rank. Where it is"
        " another error, the other ranks wait in their next collective until the limit of their group"
    )


class Telling:
    """`with Telling(ranks, timeout):` tells the other ranks, which wait in `agree`, what is raised inside.

    Not of Ctrl-C and its like: to tell is to wait for the others.
    """

    __slots__ = ("_ranks", "_timeout")

    def __init__(self, ranks: Ranks, timeout: float | None) -> None:
        self._ranks = ranks
        self._timeout = timeout

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and issubclass(kind, Exception):
            with Harmless():  # that they did not come is not what went wrong
                self._ranks.largest((self._ranks.rank + 1, *[-UNLIMITED] * (NUMBERS - 1)), self._timeout)


def _numbers(wish: Wish, rank: int) -> tuple[int, ...]:
    """What this rank says: the largest of each over all ranks is what they hear."""
    return (
        0,  # where a rank has failed, its number from 1
        rank + 1 if wish.uncut else 0,
        wish.count,
        -(wish.limit or UNLIMITED),
        wish.together or 0,
        wish.way,
        -wish.way,
        wish.shape,
        -wish.shape,
    )


def _largest(ranks: Ranks, numbers: tuple[int, ...], timeout: float | None) -> list[int]:
    try:
        return list(ranks.largest(numbers, timeout))
    except TimeoutError as error:
        raise WaitTimeoutError(
            f"rank {ranks.rank} waited for the other {ranks.size - 1} of its process group to begin the same"
            f" step, and not all came ({text_of(error)}); every rank must call the wrapper equally often:"
            " pass ranks='independent' where the function does not communicate, and a longer barrier_timeout"
            " where a rank may be so late"
        ) from error
    except ConnectionError as error:
        raise RanksError(
            f"rank {ranks.rank} was about to begin a step, and another of the {ranks.size} ranks has ended or"
            f" has given up waiting for this one ({text_of(error)}); see the error of that rank"
        ) from error
