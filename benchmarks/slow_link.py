"""A process group whose link is slow on purpose: gloo, after as long as the bytes take.

Invariant: transfers of a rank follow each other, as on a real link; nobody computes for them, so what they
take can be hidden completely.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import _create_work_from_future

NAME = "slow"


class SlowGroup(dist.ProcessGroup):
    """A gloo group behind a link that takes so many seconds for a byte."""

    seconds_per_byte = 0.0
    sent = 0
    """Bytes so far."""

    def __init__(self, store: Any, rank: int, size: int, timeout: timedelta) -> None:
        super().__init__(rank, size)
        self._gloo = dist.ProcessGroupGloo(store, rank, size, timeout)
        self._link = ThreadPoolExecutor(1)

    @classmethod
    def pace(cls, seconds: float, model: Callable[[], Any]) -> None:
        """Make the link so slow that what one call of `model` sends takes `seconds`."""
        before = cls.sent
        model()
        cls.seconds_per_byte = seconds / (cls.sent - before)

    def allreduce(self, tensors: Sequence[Any], options: Any = None) -> Any:
        return self._sent(tensors[0].nbytes, lambda: self._gloo.allreduce(tensors, options), tensors)

    def alltoall_base(
        self, output: Any, source: Any, receives: list[int], sends: list[int], options: Any = None
    ) -> Any:
        return self._sent(
            source.nbytes, lambda: self._gloo.alltoall_base(output, source, receives, sends, options), output
        )

    def barrier(self, opts: Any = None) -> Any:
        return self._gloo.barrier()

    def getBackendName(self) -> str:
        return NAME

    def _sent(self, size: int, start: Callable[[], Any], answer: Any) -> Any:
        """Start a transfer behind those before it; returns what can be waited for."""
        SlowGroup.sent += size
        future: Any = torch.futures.Future()

        def transfer() -> None:
            time.sleep(size * SlowGroup.seconds_per_byte)
            try:
                start().wait()
                future.set_result(answer)
            except Exception as error:  # noqa: BLE001 - whoever waits gets it
                future.set_exception(error)

        self._link.submit(transfer)
        return _create_work_from_future(future)


def register() -> None:
    """Let `init_process_group("slow")` make one."""

    def made(store: Any, rank: int, size: int, timeout: timedelta) -> Any:
        return SlowGroup(store, rank, size, timeout)

    dist.Backend.register_backend(NAME, made, devices=["cpu"])
