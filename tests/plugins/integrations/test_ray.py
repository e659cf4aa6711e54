"""Ray Data runs wrapped classes and functions in actors, with the plain result; `tox -e clusters`."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import ArgumentTypeError, UnknownNameError
from microbatch_integrations.ray import actor

ROOT = Path(__file__).parents[3]
LIMIT = 150
"""Seconds that a run of Ray may take; it takes about 40 on two busy cores."""
real_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: tox -e clusters has it")


@dataclass(frozen=True)
class Ran:
    """A run of Ray."""

    said: dict[str, Any]
    """What it printed."""
    logs: str
    """What Ray showed, and wrote into its own log files."""
    left: list[str]
    """Processes of it that are still there."""


def _processes(folder: str) -> dict[int, str]:
    """Processes that name a folder, by their number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder in command and int(path.parent.name) != os.getpid():
            found[int(path.parent.name)] = command
    return found


@pytest.fixture(scope="module")
def ran() -> Iterator[Ran]:
    """One run for all tests, in a folder with a short name: Ray makes sockets there."""
    with TemporaryDirectory(prefix="mbray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
        command = [sys.executable, "-W", "ignore", str(ROOT / "tests/support/ray_run.py"), folder]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False
            )
            left = _processes(folder)
        finally:
            for process in _processes(folder):
                os.kill(process, signal.SIGKILL)
        assert "SAID" in done.stdout, done.stderr[-4000:]
        logs = [
            path.read_text(errors="replace") for path in Path(folder).glob("session_2*/logs/ray-data/*.log")
        ]
        said = json.loads(done.stdout.partition("SAID")[2].splitlines()[0])
        yield Ran(said, "\n".join([done.stdout, done.stderr, *logs]), list(left.values()))


@real_ray
def test_a_class_is_the_plain_one_where_memory_runs_out(ran: Ran) -> None:
    """Blocks of 150 rows, of which the class can do 40 at a time; made with the arguments of Ray."""
    assert ran.said["vectors"] == [[row, row % 11 * 3 + 1, row % 11] for row in range(300)]
    assert ran.said["name"] == "Embed"


@real_ray
def test_functions_of_frames_and_functions_that_are_wrapped_already(ran: Ran) -> None:
    """In actors, and a bare wrapper in tasks of Ray."""
    assert ran.said["frames"] == sorted([2 * row, "x" * (row % 11)] for row in range(300))
    assert ran.said["wrapped"] == ran.said["task"] == list(range(1, 301))


@real_ray
def test_retries_and_progress_reach_the_logs_of_ray(ran: Ran) -> None:
    assert "memory ran out in parts of" in ran.logs and "ran again in smaller parts" in ran.logs
    assert "150 of 150 rows of a block" in ran.logs


@real_ray
def test_an_actor_runs_as_many_threads_as_it_has_cpus(ran: Ran) -> None:
    """Ray gives it one, unless it is asked for more; an option goes first."""
    assert ran.said["threads"] == [[1], [2], [3]]


@real_ray
def test_an_error_of_the_function_is_told(ran: Ran) -> None:
    assert "no rows of mine" in ran.said["error"]


@real_ray
def test_nothing_of_ray_is_left(ran: Ran) -> None:
    assert ran.left == []


def test_without_ray_such_a_class_is_a_class() -> None:
    """What is made in an actor can be made anywhere; the function or class comes out as it went in."""

    class Times:
        """A class of somebody's."""

        def __init__(self, factor: int) -> None:
            self.factor = factor

        def __call__(self, batch: Any) -> Any:
            return {"y": batch["x"] * self.factor}

    made = actor(Times, num_ubatches=3)
    assert made.__name__ == "Times" and made.__doc__ == Times.__doc__
    batch = {"x": np.arange(30.0)}
    instance = made(4)
    np.testing.assert_array_equal(instance(batch)["y"], batch["x"] * 4)
    assert instance.wrapped.last_report.sizes == (10, 10, 10)


class Context:
    """What Ray tells an actor."""

    def __init__(self, actor: str | None, given: dict[str, float]) -> None:
        self.actor, self.given = actor, given

    def get_actor_id(self) -> str | None:
        return self.actor

    def get_assigned_resources(self) -> dict[str, float]:
        assert self.actor, "Ray refuses to tell this outside of an actor"
        return self.given


@pytest.mark.parametrize(
    ("given", "options", "threads", "limit"),
    [
        ({"CPU": 3.0}, {}, 3, None),
        ({"CPU": 0.5}, {}, 1, None),
        ({"CPU": 2.0, "memory": 5e8}, {}, 2, 500_000_000),
        ({"CPU": 2.0, "memory": 5e8}, {"memory_limit": 77, "thread_pool_size": 5}, 5, 77),
        ({"GPU": 1.0, "memory": 5e8}, {}, 4, None),
        ({"CPU": 1.0}, {"schedule": "pingpong"}, 4, None),
        (None, {}, 4, None),
    ],
)
def test_an_actor_takes_what_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, float] | None,
    options: dict[str, Any],
    threads: int,
    limit: int | None,
) -> None:
    """Outside of an actor nothing is set, the level of the logger included."""
    context = Context(None if given is None else "an actor", given or {})
    fake = SimpleNamespace(is_initialized=lambda: True, get_runtime_context=lambda: context)
    monkeypatch.setitem(sys.modules, "ray", fake)
    logger = logging.getLogger("microbatch")
    before, handlers = logger.level, list(logger.handlers)
    try:
        logger.setLevel(logging.NOTSET)
        found = actor(yes, **options)().wrapped.microbatch.options
        assert logger.level == (logging.NOTSET if given is None else logging.INFO)
    finally:
        logger.setLevel(before)
        logger.handlers[:] = handlers
    assert (found.thread_pool_size, found.memory_limit) == (threads, limit)


def yes(batch: Any) -> Any:
    """As it came."""
    return batch


def yielding(batch: Any) -> Any:
    """Yields its batches."""
    yield batch


async def awaiting(batch: Any) -> Any:
    """Awaits its batches."""
    return batch


class Idle:
    """Cannot be called."""


class Yields:
    """Yields its batches."""

    def __call__(self, batch: Any) -> Any:
        yield batch


class Decorated:
    """Its own call is wrapped."""

    @microbatch.wrap(num_ubatches=5)
    def __call__(self, batch: Any) -> Any:
        return {"y": batch["x"] + 1}


def test_a_class_whose_call_is_decorated_is_not_wrapped_again() -> None:
    batch = {"x": np.arange(30.0)}
    instance = actor(Decorated)()
    np.testing.assert_array_equal(instance(batch)["y"], batch["x"] + 1)
    assert type(instance.wrapped) is Decorated
    assert type(instance.wrapped).__call__.__get__(instance.wrapped).last_report.sizes == (6, 6, 6, 6, 6)


@pytest.mark.parametrize(
    ("target", "options", "error", "says"),
    [
        (yielding, {}, ArgumentTypeError, "is a generator"),
        (awaiting, {}, ArgumentTypeError, "is async"),
        (Yields, {}, ArgumentTypeError, "is a generator"),
        (Yields(), {}, ArgumentTypeError, "is a generator"),
        (partial(yielding), {}, ArgumentTypeError, "is a generator"),
        (Decorated, {"num_ubatches": 3}, ArgumentTypeError, "wrapped already"),
        (Idle, {}, ArgumentTypeError, "cannot be called"),
        (Idle(), {}, ArgumentTypeError, "cannot be called"),
        (3, {}, ArgumentTypeError, "cannot be called"),
        (yes, {"num_ubatch": 3}, UnknownNameError, "num_ubatches"),
        (microbatch.wrap(len), {"num_ubatches": 3}, ArgumentTypeError, "wrapped already"),
    ],
)
def test_what_cannot_run_is_refused_before_ray_starts(
    target: Any, options: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        actor(target, **options)
