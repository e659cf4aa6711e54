"""Ranks in processes of their own, in a real gloo group, that run functions of the tests.

Invariant: each question to the ranks is answered by all of them within a limit, or the ranks are ended and
the test fails. They are started once for many questions, as importing torch takes seconds. A function that
they run is one of a module, called as `function(rank, *args)`; it answers plain data.
"""

from __future__ import annotations

import tempfile
import traceback
import warnings
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

STARTING = 120.0
"""Seconds until they are ready: imports on a busy machine."""


class GlooRanks:
    """`size` processes; a context manager that leaves none behind."""

    def __init__(self, size: int, timeout: float = 60.0) -> None:
        """`timeout` is that of their process group, in seconds."""
        self.size = size
        self._folder = tempfile.TemporaryDirectory()
        self._pipes: list[Any] = []
        self._processes: list[Any] = []
        context, meeting = get_context("spawn"), str(Path(self._folder.name) / "meeting")
        for rank in range(size):
            here, there = context.Pipe()
            process = context.Process(
                target=serve, args=(there, rank, size, meeting, timeout), daemon=True, name=f"rank {rank}"
            )
            process.start()
            there.close()
            self._pipes.append(here)
            self._processes.append(process)

    def __enter__(self) -> Self:
        self._answers(STARTING)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        for pipe in self._pipes:
            pipe.close()
        self._folder.cleanup()

    def run(self, function: Callable[..., Any], *args: Any, limit: float = 60.0) -> list[Any]:
        """What each rank answered; fails with the traceback of one that raised, or where one hangs."""
        for pipe in self._pipes:
            pipe.send((function, args))
        return self._answers(limit)

    def _answers(self, limit: float) -> list[Any]:
        answers = []
        for rank, pipe in enumerate(self._pipes):
            assert pipe.poll(limit), f"rank {rank} hangs"
            answer, problem = pipe.recv()
            assert not problem, f"rank {rank} raised:\n{problem}"
            answers.append(answer)
        return answers


def serve(pipe: Connection, rank: int, size: int, meeting: str, timeout: float) -> None:
    """One rank: join the group, then run what is asked for until it is ended."""
    import torch
    from torch import distributed

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout),
    )
    pipe.send((None, ""))
    while True:
        try:
            function, args = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((function(rank, *args), ""))
        except BaseException:  # noqa: BLE001 - told to the test
            pipe.send((None, traceback.format_exc()))
