"""Whether this process is one rank of a `torch.distributed` group: an ability of every backend in there.

Invariant: where nobody has imported torch.distributed there is no group, nothing is imported here, and the
answer costs one look into a dictionary. It is of the process and not of the device: a function of NumPy
arrays may communicate inside, too. A child that was forked from a rank is none, as it has none of the rank's
connections; so is a process that loads data for a rank.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from microbatch.extend.abilities import Ranks

__all__ = ["RanksOfProcess"]


class RanksOfProcess:
    """The abilities `SupportsRanks`, `SupportsCollectives` and `SupportsSights`, for backends to inherit."""

    grouping: str = "torch.distributed"

    def ranks(self, group: object | None) -> Ranks | None:
        """The ranks of a process group, of the default one for None; None where this process is alone."""
        distributed = sys.modules.get("torch.distributed")
        if distributed is None or not distributed.is_available() or not distributed.is_initialized():
            return None
        if distributed.GroupMember.WORLD is _INHERITED.group or _loads_data():
            return None
        from microbatch_backends.torch_device.process_groups import ranks_of

        return ranks_of(group)

    def hook_collectives(self) -> None:
        """Let waits of torch.distributed pass the turn; nothing where nobody has imported it."""
        distributed = sys.modules.get("torch.distributed")
        if distributed is not None and distributed.is_available():
            from microbatch_backends.torch_device.collectives import hook_collectives

            hook_collectives()

    def watch_calls(self) -> None:
        """Let recorded ubatches see collectives and device-wide waits; nothing without torch."""
        distributed = sys.modules.get("torch.distributed")
        if distributed is None:
            return
        from microbatch_backends.torch_device import sights

        sights.watch_device()
        if distributed.is_available():
            sights.watch_collectives()


class Inherited:
    """The group that was there when this process was forked."""

    __slots__ = ("group",)

    def __init__(self) -> None:
        self.group: Any = None
        """Held, so that nothing of it is ended here; None where there was none."""

    def forked(self) -> None:
        """For the child of a fork."""
        distributed = sys.modules.get("torch.distributed")
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            self.group = distributed.GroupMember.WORLD


_INHERITED = Inherited()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_INHERITED.forked)


def _loads_data() -> bool:
    """Whether this is a worker of a DataLoader, which may have been forked before anything of ours was there
    to notice."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and data.get_worker_info() is not None
