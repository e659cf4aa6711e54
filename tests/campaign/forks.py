"""Processes forked while threads run steps; each child runs steps under every schedule and must end.

Invariant: a child has none of its parent's threads and may find any lock taken that one of them held. So it
is forked at a drawn time, from the main thread, from a thread that runs steps, or from inside a step; and it
uses the wrappers that its parent was using as well as new ones. A child that does not end in time says where
it stood. NumPy only: a child that uses torch's threads after its parent did hangs in the OpenMP library.
"""

from __future__ import annotations

import faulthandler
import os
import select
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import numpy as np

import microbatch
from microbatch.dbo import dbo_yield
from microbatch.options.fields import SCHEDULES
from tests.campaign.records import Found

LEFT = frozenset({"threads", "descriptors"})
FORKS = 5
"""Forks of one case."""
LOAD = 3
"""Threads that run steps meanwhile."""
LIMIT = 10
"""Seconds that a child has."""
X = np.arange(48.0 * 8).reshape(48, 8)
"""The batch."""

Wrappers = dict[str, Any]
"""Schedule -> wrapper."""


def doubled(x: Any) -> Any:
    """What all of them run; BLAS is used, and turns are passed."""
    y = x @ np.eye(x.shape[1])
    dbo_yield()
    return y * 2


def begin() -> None:
    """Use every schedule once."""
    _run_all(_wrappers())


def case(draw: Random) -> Found:
    """Several forks under load."""
    wrappers = _wrappers()
    told: list[str] = []
    with _load(wrappers, draw) as forking:
        for _ in range(FORKS):
            told += _forked(draw.choice((_here, forking, _inside_a_step)), wrappers)
    for wrapper in wrappers.values():
        wrapper.shutdown()
    return Found(units={"forks": FORKS, "steps": FORKS * 2 * len(SCHEDULES)}, failures=tuple(told))


def _wrappers() -> Wrappers:
    options = {"num_ubatches": 3, "barrier_timeout": 10.0}
    return {schedule: microbatch.wrap(doubled, schedule=schedule, **options) for schedule in SCHEDULES}


@contextmanager
def _load(wrappers: Wrappers, draw: Random) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Threads that run steps until the block ends; gives a way to run something in one of them."""
    over, jobs = threading.Event(), Jobs()
    seeds = [draw.getrandbits(32) for _ in range(LOAD)]
    threads = [threading.Thread(target=_steps, args=(wrappers, over, jobs, Random(s))) for s in seeds]
    for thread in threads:
        thread.start()
    try:
        yield jobs.run
    finally:
        over.set()
        for thread in threads:
            thread.join()


class Jobs:
    """Things to be run by whichever thread comes first."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], None], threading.Event]] = []

    def run(self, job: Callable[[], None]) -> None:
        """Have `job` run, and wait for it."""
        done = threading.Event()
        self._waiting.append((job, done))
        done.wait()

    def take(self) -> None:
        """Run one, if there is any."""
        try:
            job, done = self._waiting.pop()
        except IndexError:
            return
        job()
        done.set()


def _steps(wrappers: Wrappers, over: threading.Event, jobs: Jobs, draw: Random) -> None:
    while not over.is_set():
        wrappers[draw.choice(SCHEDULES)](X)
        jobs.take()


def _here(job: Callable[[], None]) -> None:
    job()


def _inside_a_step(job: Callable[[], None]) -> None:
    """Run `job` in the function of a step, in whatever thread that runs."""

    def function(x: Any) -> Any:
        if 0.0 in x[:, 0]:
            job()
        return x

    with microbatch.wrap(function, num_ubatches=3, schedule="parallel", verify="never") as wrapper:
        wrapper(X)


def _forked(where: Callable[[Callable[[], None]], None], wrappers: Wrappers) -> list[str]:
    """Fork by `where`, wait for the child, and return what was wrong with it."""
    read, write = os.pipe()
    children: list[int] = []

    def fork() -> None:
        child = os.fork()
        if child:
            children.append(child)
        else:
            _child(write, wrappers)

    where(fork)
    os.close(write)
    said = _said(read)
    os.close(read)
    return [f"forked by {where.__name__}: {said}"] if os.waitpid(children[0], 0)[1] or said else []


def _child(write: int, wrappers: Wrappers) -> None:
    """Run steps with the parent's wrappers and with new ones; never returns."""
    try:
        faulthandler.dump_traceback_later(LIMIT, exit=True, file=write)
        _run_all(wrappers)
        _run_all(_wrappers())
    except BaseException:  # noqa: BLE001 - told to the parent
        os.write(write, traceback.format_exc().encode())
        os._exit(1)
    os._exit(0)


def _run_all(wrappers: Wrappers) -> None:
    for schedule, wrapper in wrappers.items():
        assert np.array_equal(wrapper(X), X * 2), schedule
        wrapper.shutdown()


def _said(read: int) -> str:
    """What the child wrote before it ended."""
    said = b""
    while select.select([read], [], [], 3.0 * LIMIT)[0]:
        more = os.read(read, 1 << 16)
        if not more:
            return said.decode()
        said += more
    return f"{said.decode()}\nand then nothing for {3 * LIMIT} s, though it did not end"
