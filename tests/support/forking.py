"""Children forked while threads of their parent run steps, as data loaders do.

Each child runs steps of its own, on the wrappers that it was born with and on new ones, under each schedule,
and must end. Run as a program in a process of its own, since what is forked should not be the test runner:

    python -m tests.support.forking --children 500 --limit 10

prints one line of JSON: how many children there were, how many hung, how many failed, and what they said.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import microbatch
from microbatch import dbo

__all__ = ["Fates", "fates_of"]

ROWS = 96
"""Rows of each batch."""


@dataclass(slots=True)
class Fates:
    """What became of the children."""

    children: int = 0
    """How many were forked."""
    hung: int = 0
    """How many were still there when their time was over."""
    failed: int = 0
    """How many ended with an error."""
    steps: int = 0
    """Steps that the parent's threads ran meanwhile."""
    said: list[str] = field(default_factory=list)
    """What children left: errors, and where those that hung stood."""


def fates_of(children: int, limit: float = 10.0) -> Fates:
    """Fork so many children in a process of its own; each may take `limit` seconds."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.forking",
            "--children",
            str(children),
            "--limit",
            str(limit),
        ],
        capture_output=True,
        text=True,
        timeout=120 + children * (limit + 5),
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"the parent ended with {done.returncode}:\n{done.stderr}")
    return Fates(**json.loads(done.stdout.splitlines()[-1]))


def matrix(x: Any) -> Any:
    """Rows through two products, so that BLAS is at work."""
    return np.maximum(x @ WEIGHTS, 0.0) @ WEIGHTS


def elementwise(x: Any) -> Any:
    """Rows through something that is not a product."""
    return np.sqrt(x * x + 1.0)


def turns(x: Any) -> Any:
    """Rows with a yield point between two pieces of work."""
    first = x * 2.0
    dbo.dbo_yield()
    return first + 1.0


def tensors(x: Any) -> Any:
    """Rows of a tensor."""
    return (x * 2.0 + 1.0).tanh()


WEIGHTS = np.linspace(-1.0, 1.0, 64 * 64).reshape(64, 64)


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of step."""

    function: Callable[[Any], Any]
    """What is wrapped."""
    options: dict[str, Any]
    """How."""
    tensor: bool = False
    """Whether its batch is a tensor."""

    def wrapper(self) -> microbatch.UBatchWrapper:
        """A new wrapper."""
        return microbatch.wrap(self.function, num_ubatches=3, **self.options)

    def batch(self) -> Any:
        """Its batch."""
        rows = np.linspace(0.0, 1.0, ROWS * 64).reshape(ROWS, 64)
        if not self.tensor:
            return rows
        import torch

        return torch.from_numpy(rows)


def kinds(history: Path) -> dict[str, Work]:
    """The kinds of steps that there can be here."""
    found = {
        "sequential": Work(elementwise, {"schedule": "sequential"}),
        "memory": Work(elementwise, {"schedule": "sequential", "policy": "auto", "memory_limit": 1 << 24}),
        "parallel": Work(matrix, {"schedule": "parallel", "policy": "fixed"}),
        "parallel memory": Work(matrix, {"schedule": "parallel", "policy": "auto", "memory_limit": 1 << 24}),
        "streamed": Work(elementwise, {"schedule": "streamed"}),
        "pingpong": Work(turns, {"schedule": "pingpong"}),
        "proven": Work(elementwise, {"schedule": "parallel", "verify": "always"}),
        "history": Work(
            elementwise, {"schedule": "sequential", "policy": "throughput", "history": str(history)}
        ),
    }
    if find_spec("greenlet") is not None:
        found["greenlets"] = Work(turns, {"schedule": "pingpong", "driver": "greenlets"})
    if find_spec("torch") is not None:
        found["torch"] = Work(tensors, {"schedule": "parallel"}, tensor=True)
    return found


class Parent:
    """The process whose threads run steps."""

    def __init__(self, history: Path) -> None:
        self.kinds = kinds(history)
        self.wrappers = {name: work.wrapper() for name, work in self.kinds.items()}
        self.batches = {name: work.batch() for name, work in self.kinds.items()}
        self.expected: dict[str, Any] = {}
        self.fates = Fates()
        self._going = threading.Event()
        self._steps = [0] * len(self.kinds)

    def start(self) -> None:
        """Run one step of each kind, then start the threads."""
        first = threading.Thread(target=self._first_steps)  # a thread that used OpenMP cannot fork and go on
        first.start()
        first.join()
        self.numbers = numbers_of_threads()
        for index, name in enumerate(self.kinds):
            threading.Thread(target=self._run, args=(index, name), daemon=True).start()

    def _first_steps(self) -> None:
        self.expected = {name: work.function(self.batches[name]) for name, work in self.kinds.items()}
        self.every_kind()

    def every_kind(self) -> None:
        """One step of each wrapper that is there, checked."""
        for name, wrapped in self.wrappers.items():
            check(name, wrapped(self.batches[name]), self.expected[name])

    def new_wrappers(self) -> None:
        """One step of each kind with a new wrapper, checked."""
        for name, work in self.kinds.items():
            wrapped = work.wrapper()
            check(f"new {name}", wrapped(self.batches[name]), self.expected[name])
            wrapped.shutdown()

    def _run(self, index: int, name: str) -> None:
        while True:
            self._going.wait()
            self.wrappers[name](self.batches[name])
            self._steps[index] += 1

    def fork(self, limit: float, words: Path) -> None:
        """Fork one child in the middle of steps, and wait for it; they rest meanwhile, as cores are few."""
        self._going.set()
        time.sleep(0.002 + 0.003 * (self.fates.children % 5))
        child = os.fork()
        if child == 0:
            self.live(limit, words)
        self._going.clear()
        self.fates.children += 1
        status = ended(child, limit + 3.0)
        if status is None:
            self.fates.hung += 1
        elif status:
            self.fates.failed += 1
            self.fates.said.append(f"ended with {os.waitstatus_to_exitcode(status)}")
        if words.exists() and (text := words.read_text()):
            self.fates.said.append(text)

    def live(self, limit: float, words: Path) -> None:
        """What a child does; never returns."""
        with words.open("w") as told:
            faulthandler.enable(told)
            faulthandler.dump_traceback_later(limit, file=told)
            code = 0
            try:
                numbers = numbers_of_threads()
                self.every_kind()
                self.new_wrappers()
                assert numbers == self.numbers, f"born with {numbers} threads where {self.numbers} were set"
            except BaseException:  # noqa: BLE001 - told to the parent
                told.write(traceback.format_exc())
                code = 1
            faulthandler.cancel_dump_traceback_later()
            told.flush()
            os._exit(code)

    def told(self) -> Fates:
        """What became of all of them."""
        self.fates.steps = sum(self._steps)
        return self.fates


def ended(child: int, limit: float) -> int | None:
    """The status of a child; None for one that had to be killed after `limit` seconds."""
    last = time.monotonic() + limit
    while time.monotonic() < last:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def numbers_of_threads() -> list[int]:
    """Threads of BLAS, and of torch's operations."""
    from microbatch_backends.host.blas import BlasThreads

    found = [BlasThreads().read()]
    if find_spec("torch") is not None:
        import torch

        found.append(torch.get_num_threads())
    return found


def check(name: str, found: Any, expected: Any) -> None:
    """Raise AssertionError unless both are the same numbers."""
    assert np.allclose(np.asarray(found), np.asarray(expected)), f"{name}: another result"


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--children", type=int, default=60)
    parser.add_argument("--limit", type=float, default=10.0)
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore", DeprecationWarning)  # that forking beside threads may hang the child
    with tempfile.TemporaryDirectory() as folder:
        parent = Parent(Path(folder) / "history.sqlite")
        parent.start()
        for number in range(asked.children):
            parent.fork(asked.limit, Path(folder) / f"words {number}")
        print(json.dumps(asdict(parent.told())), flush=True)
        os._exit(0)  # threads may be in the middle of steps, and what they use is taken down at exit


if __name__ == "__main__":
    main()
