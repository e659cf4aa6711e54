"""Each cause is found in a program that has it, and not in one without it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

import microbatch
from microbatch import dbo
from microbatch.host.thread_usage import thread_usage
from microbatch.testing import RecordingBackend
from microbatch.testing.given_plugins import GivenBackends
from microbatch.timeline.bars import Bar, SeenStep, Usage
from microbatch.timeline.doctor import CAUSES, diagnose, this_process
from microbatch.timeline.finding import NOTHING, Diagnosis
from tests.support.drawn_bars import schedules

pytestmark = pytest.mark.counted

TRIES = 5
"""A machine that is busy with other work may give both parts to one thread."""
TWO: dict[str, Any] = {"policy": "fixed", "num_ubatches": 2}


def doctor_of(function: Callable[..., Any], *inputs: Any, calls: int = 1, **options: Any) -> Diagnosis:
    """What is said of some calls of a wrapped function."""
    with microbatch.wrap(function, **options) as wrapper, microbatch.record() as seen:
        for _ in range(calls):
            wrapper(*inputs)
    return seen.doctor()


def on_device(function: Callable[..., Any], **options: Any) -> Diagnosis:
    """The same on a simulated device with streams."""
    device = RecordingBackend()
    given_to = {"backend": device.name, "plugins": GivenBackends(device)}
    return doctor_of(function, device.array(np.ones((8, 4))), **TWO, **given_to, **options)


def test_parts_too_small() -> None:
    """Parts of 2 rows of a sum, against parts of 4,000 rows of many sines."""
    x = np.ones((64, 4))
    small = doctor_of(lambda x: x + 1, x, policy="fixed", num_ubatches=32, schedule="sequential")
    assert "parts too small" in small.causes
    assert "32 parts" in str(small)
    big = np.ones((8000, 50))
    many = doctor_of(lambda x: np.sin(np.sin(np.sin(x))), big, **TWO, schedule="sequential")
    assert "parts too small" not in many.causes


def test_a_function_that_may_not_be_cut_is_named_with_its_leaf() -> None:
    """A mean over rows mixes them."""
    x = np.random.default_rng(0).random((64, 4))
    with pytest.warns(UserWarning, match="not cut"):
        mixing = doctor_of(lambda x: {"centred": x - x.mean(0)}, x, num_ubatches=4, verify="first")
    assert mixing.causes == ("may not be cut",)
    assert "centred" in mixing.findings[0].evidence
    apart = doctor_of(lambda x: {"centred": x - 1}, x, verify="first", **TWO)
    assert "may not be cut" not in apart.causes


def test_a_step_that_nobody_wanted_cut() -> None:
    """The reason of the policy is the evidence."""
    whole = doctor_of(lambda x: x + 1, np.ones((4, 2)), policy="fixed", num_ubatches=1)
    assert whole.causes == ("not cut",)


def test_one_stream() -> None:
    """One after another; in turns without a switch; in turns with one."""

    def computing(x: Any) -> Any:
        dbo.dbo_yield()
        return x + 1

    def communicating(x: Any) -> Any:
        dbo.dbo_switch_to_comm_sync()
        dbo.dbo_yield()
        y = x + 1
        dbo.dbo_switch_to_compute_sync()
        return y

    assert "one stream" in on_device(computing, schedule="sequential").causes
    assert "one stream" in on_device(computing, schedule="pingpong").causes
    assert "one stream" not in on_device(communicating, schedule="pingpong").causes
    assert "one stream" not in on_device(lambda x: x + 1, schedule="streamed").causes


def test_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, on a device with streams, where ubatches could overlap."""
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "1")
    assert "one connection" in on_device(lambda x: x + 1, schedule="streamed").causes
    assert "one connection" not in doctor_of(np.sin, np.ones((9, 2)), **TWO, schedule="streamed").causes
    monkeypatch.setenv("CUDA_DEVICE_MAX_CONNECTIONS", "8")
    assert "one connection" not in on_device(lambda x: x + 1, schedule="streamed").causes


def test_the_interpreter_lock() -> None:
    """A loop in Python holds it, sines of big arrays do not."""
    process = this_process({}, float)
    if not process.locked:
        pytest.skip("this Python has no such lock")

    def loop(x: Any) -> Any:
        for row in x:
            sum(math.sqrt(value) for value in row)
        return x

    def found(function: Callable[..., Any]) -> bool:
        told = doctor_of(function, np.ones((400, 2500)), **TWO, schedule="parallel", backend="cpu")
        return "interpreter lock" in told.causes

    assert not found(lambda x: np.sin(np.sin(np.sin(x))))
    assert any(found(loop) for _ in range(TRIES))


def bars_of(usage: Usage, count: int = 2) -> tuple[list[Bar], list[SeenStep]]:
    """Two threads that each compute for a second."""
    report = microbatch.StepReport(
        step=0, num_tokens=8, num_requests=8, sizes=(4,) * count, seconds=1.0, schedule="parallel"
    )
    bars = [
        Bar(phase="compute", start=0, end=1, lane=f"thread {n}", ubatch=n, usage=usage) for n in range(count)
    ]
    return bars, [SeenStep(number=0, inside=None, name="f", start=0, end=1, report=report)]


def usage(**counts: Any) -> Usage:
    return Usage(**{"seconds": 1.0, "system_seconds": 0.0, "faults": 0, "waits": 0} | counts)


@pytest.mark.parametrize(
    ("counts", "cause"),
    [
        ({"seconds": 0.5, "waits": 90}, "interpreter lock"),
        ({"seconds": 0.001, "waits": 900}, None),  # asleep, not computing
        ({"seconds": 0.97, "waits": 900}, None),  # the lock is given away often, and had at once
        ({"seconds": 0.5, "waits": 3}, None),  # other processes have the cores
        ({}, None),
        ({"system_seconds": 0.4, "faults": 1000}, "fresh pages"),
        ({"system_seconds": 0.4, "faults": 3}, None),  # the kernel does something else
        ({"system_seconds": 0.01, "faults": 1000}, None),
    ],
)
def test_what_the_system_counts_says_which(counts: dict[str, Any], cause: str | None) -> None:
    """The lock, fresh pages, or neither."""
    process = this_process({}, float)
    bars, steps = bars_of(usage(**counts))
    if cause == "interpreter lock" and not process.locked:
        cause = None
    assert diagnose(bars, steps, process).causes == (() if cause is None else (cause,))


def test_memory_that_is_touched_for_the_first_time() -> None:
    """A buffer of 64 MiB made in each call, against one that is there."""
    if thread_usage() is None:
        pytest.skip("this system does not count by the thread")
    there = np.ones(8 << 20)

    def fresh(x: Any) -> Any:
        return x + np.ones(8 << 20)[: len(x)]

    def reused(x: Any) -> Any:
        np.sqrt(there, out=there)
        return x + there[: len(x)]

    def found(function: Callable[..., Any]) -> bool:
        told = doctor_of(function, np.ones(64), **TWO, schedule="sequential", backend="cpu")
        return "fresh pages" in told.causes

    assert any(found(fresh) for _ in range(TRIES))
    assert not all(found(reused) for _ in range(TRIES))


def test_small_parts_are_not_blamed_on_the_lock() -> None:
    """Cutting and storing them is Python code of ours, and so is recording them."""
    bars, steps = bars_of(usage(seconds=0.5, waits=900))
    many = [
        replace(bar, start=place * 1e-4, end=place * 1e-4 + 5e-5, ubatch=place)
        for place in range(100)
        for bar in bars
    ]
    assert "interpreter lock" not in diagnose(many, steps, this_process({}, float)).causes


def test_bound_by_memory() -> None:
    """One sum a number, into memory that is there, is as fast as copying; forty roots of it are not."""

    def roots(x: Any) -> Any:
        for _ in range(40):
            x = np.sqrt(x)
        return x

    def add(x: Any) -> Any:
        return np.add(x, 1, out=there[: len(x)])

    x = np.ones((64, 125_000))
    out, there = np.empty_like(x), np.ones((32, 125_000))

    def into(function: Callable[..., Any]) -> Diagnosis:
        with microbatch.wrap(function, **TWO, schedule="sequential", backend="cpu") as wrapper:
            wrapper(x, out=out)
            with microbatch.record() as seen:
                wrapper(x, out=out)
        return seen.doctor()

    assert any("memory bound" in into(add).causes for _ in range(TRIES))
    assert "memory bound" not in into(roots).causes


@given(schedules())
def test_any_recording_has_an_answer(schedule: tuple[list[Bar], list[SeenStep]]) -> None:
    """Whatever was recorded, each cause is asked and none fails."""
    bars, steps = schedule
    found = diagnose(bars, steps, this_process({}, float))
    assert len(found.findings) <= len(CAUSES) * len(steps)
    assert str(found) and found._repr_html_()


def test_nothing_is_said_of_a_good_step() -> None:
    """Two big parts of much work."""
    x = np.ones((200, 2000))
    out = np.empty_like(x)

    def work(x: Any) -> Any:
        for _ in range(10):
            x = np.sqrt(x)
        return x

    with microbatch.wrap(work, **TWO, schedule="sequential", backend="cpu") as wrapper:
        wrapper(x, out=out)
        with microbatch.record() as seen:
            wrapper(x, out=out)
    found = [cause for cause in seen.doctor().causes if cause != "fresh pages"]
    assert found == [] and str(Diagnosis()) == NOTHING


def test_functions_are_told_apart() -> None:
    """Where several were recorded, each finding has the name of its own."""

    def small(x: Any) -> Any:
        return x + 1

    def whole(x: Any) -> Any:
        return x

    with microbatch.record() as seen:
        for function, count in ((small, 32), (whole, 1)):
            wrapped = microbatch.wrap(function, policy="fixed", num_ubatches=count, schedule="sequential")
            with wrapped:
                wrapped(np.ones((64, 2)))
    assert {(f.function, f.cause) for f in seen.doctor().findings} >= {
        ("small", "parts too small"),
        ("whole", "not cut"),
    }
