"""The ranks of a process group of torch, and the connections over which they agree.

Invariant: the caller's groups are never used to agree. A gloo collective that passes its limit closes the
connections of its group, and everything that the caller runs on that group afterwards would fail. So ranks
agree over connections of their own, made when they first agree. Where an agreement failed, they are
made anew for the next one: each time under another number, which the store of the group keeps, so that a rank
that comes late finds those of the others.

Rejected: `torch.distributed.new_group`. Ranks outside of the group would have to call it too, or, with local
synchronization, its name depends on how many groups a rank has made before.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed import distributed_c10d

from microbatch.errors import ArgumentTypeError, BackendUnavailableError
from microbatch.options.messages import given
from microbatch.options.raised import Harmless

ATTEMPT = "microbatch/attempt"
"""The key in the store of a group under which ranks find the number of the connections in use."""
SLICE = timedelta(seconds=0.25)
"""A wait for the other ranks is cut into such, as Ctrl-C is heard between two of them."""


class GroupRanks:
    """The ranks of one process group, as `microbatch.extend.abilities.Ranks` says."""

    def __init__(self, group: Any) -> None:
        self.rank: int = distributed.get_rank(group)
        self.size: int = distributed.get_world_size(group)
        self._store = distributed_c10d._get_process_group_store(group)
        self._limit = limit_of(group)
        self._attempt = 0
        self._connections: Any = None

    def largest(self, numbers: Sequence[int], timeout: float | None) -> list[int]:
        """The largest of each number over all ranks."""
        limit = self._limit if timeout is None else min(self._limit, timedelta(seconds=timeout))
        values = torch.tensor(numbers, dtype=torch.int64)
        options = distributed.AllreduceOptions()
        options.reduceOp = distributed.ReduceOp(distributed.ReduceOp.MAX)
        options.timeout = limit
        try:
            if self._connections is None:
                self._connections = self._connected(limit)
            _await(self._connections.allreduce([values], options))
        except RuntimeError as error:
            self._give_up()
            raise _meaning(error) from error
        return values.tolist()

    def _connected(self, limit: timedelta) -> Any:
        """Connections to all other ranks; it takes milliseconds."""
        if not distributed.is_gloo_available():
            raise BackendUnavailableError(
                "ranks agree over gloo, and this build of torch has none; install one that has it, or pass"
                " ranks='independent' where the function does not communicate"
            )
        self._attempt = self._store.add(ATTEMPT, 0)
        place = distributed_c10d.PrefixStore(f"microbatch/{self._attempt}", self._store)
        return distributed.ProcessGroupGloo(place, self.rank, self.size, timeout=limit)

    def _give_up(self) -> None:
        """These connections are closed; whoever notices first says which are next."""
        self._connections = None
        with Harmless():  # the store may be gone with its rank
            self._store.compare_set(ATTEMPT, str(self._attempt), str(self._attempt + 1))


class Groups:
    """The groups of this process in which ranks have met; forgotten with the group."""

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Any, GroupRanks] = weakref.WeakKeyDictionary()

    def ranks(self, group: Any) -> GroupRanks | None:
        """The ranks of `group`; None where this process is alone in it."""
        known = self._known.get(group)
        if known is None and distributed.get_world_size(group) > 1:
            known = self._known.setdefault(group, GroupRanks(group))
        return known


_OF_THE_PROCESS = Groups()


def ranks_of(group: Any) -> GroupRanks | None:
    """The ranks of `group`, or of the default one for None; None where this process is alone in it, or no
    member. The same object while the group is the same."""
    if group is None:
        return _OF_THE_PROCESS.ranks(distributed.GroupMember.WORLD)
    if isinstance(group, distributed.ProcessGroup):
        return _OF_THE_PROCESS.ranks(group)
    if group == distributed.GroupMember.NON_GROUP_MEMBER:
        return None
    raise ArgumentTypeError(
        f"process_group is {given(group)}; pass what torch.distributed.new_group returned, or None"
    )


def limit_of(group: Any) -> timedelta:
    """How long a collective of `group` may take."""
    for device in group._device_types:
        with Harmless():  # a type for which the group has nothing
            found = group._get_backend(device).options._timeout
            if isinstance(found, timedelta):
                return found
    return distributed_c10d.default_pg_timeout


def _await(work: Any) -> None:
    """Wait until `work` is done; raises what it ended with."""
    while True:
        try:
            work.wait(SLICE)
        except RuntimeError:
            if work.is_completed():
                raise
        else:
            return


def _meaning(error: RuntimeError) -> Exception:
    """The builtin for what gloo and the store say in words only."""
    text = str(error)
    late = "timed out" in text.lower() or "timeout" in text.lower()
    return TimeoutError(text) if late else ConnectionError(text)
