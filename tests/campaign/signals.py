"""Ctrl-C at drawn times of steps under every schedule, many for one wrapper, sometimes twice in a row.

Invariant: an interrupted step raises KeyboardInterrupt or returns the right answer, and the next step is
right. When the wrapper has been shut down, threads, descriptors, BLAS and torch threads and the cores that
this thread may run on are what they were. A step that never ends is seen by the process that asks.

The timer of the kernel sends the signal, so it comes at any bytecode and inside any call of C; its handler
raises KeyboardInterrupt, which is what Python's own handler of SIGINT does. It raises only while the call is
on its way: the loop around it is not what is attacked.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from statistics import median
from types import FrameType
from typing import Any

import numpy as np

import microbatch
from microbatch.dbo import dbo_yield
from microbatch.options.fields import SCHEDULES
from tests.campaign.faults import shown
from tests.campaign.records import Found
from tests.campaign.steps import DRIVERS, pretend_cores
from tests.campaign.works import torch_or_none
from tests.support.answers import Compare

LEFT = frozenset({"threads", "descriptors", "settings"})
SIGNALS = 50
"""Signals to one wrapper."""
TWICE = 0.1
"""How often a second signal follows while the first is being dealt with."""
EARLIEST = 2e-5
"""Seconds; the timer takes no zero."""


@dataclass(slots=True)
class Timer:
    """Interrupts the main thread, at most as often as was asked for."""

    left: int = 0
    """Interrupts that may still be raised."""
    hits: int = 0
    """Interrupts that were raised."""

    def set(self, delays: list[float]) -> None:
        """One interrupt after the first delay, and another after the second, if there is one."""
        self.left = len(delays)
        signal.setitimer(signal.ITIMER_REAL, delays[0], delays[1] if len(delays) > 1 else 0.0)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        if self.left:
            self.left -= 1
            self.hits += 1
            raise KeyboardInterrupt


@dataclass(slots=True)
class Attack:
    """One wrapper under signals."""

    call: Callable[[], Any]
    """One step."""
    expected: Any
    """What it answers."""
    timer: Timer = field(default_factory=Timer)
    """Sends the signals."""
    failures: list[str] = field(default_factory=list)
    """What was wrong."""

    def interrupted(self, delays: list[float]) -> None:
        """One step that is interrupted, or is over before; then one that is not."""
        try:
            try:
                self.timer.set(delays)
                answer = self.call()
                self.timer.left = 0
            except KeyboardInterrupt:
                pass
            except BaseException as error:  # noqa: BLE001 - judged
                self.timer.left = 0
                self.failures.append(f"an interrupted step raised another error:\n{shown(error)}")
            else:
                self._check(answer, "a step that was not interrupted")
        except KeyboardInterrupt:  # the second signal came between the step and here
            pass
        self.timer.left = 0
        self.undisturbed()

    def undisturbed(self) -> float:
        """One step without a signal; its seconds."""
        begun = time.perf_counter()
        try:
            answer = self.call()
        except BaseException as error:  # noqa: BLE001 - judged
            self.failures.append(f"the step after an interrupt raised\n{shown(error)}")
        else:
            self._check(answer, "the step after an interrupt")
        return time.perf_counter() - begun

    def _check(self, answer: Any, which: str) -> None:
        difference = Compare(exact=True).difference(self.expected, answer)
        if difference:
            self.failures.append(f"{which} answered wrong: {difference}")


def bytecodes(x: Any) -> Any:
    """Many bytecodes, and turns."""
    total = 0.0
    for _ in range(4):
        for number in range(60):
            total += number
        dbo_yield()
    return x + total


def native(x: Any) -> Any:
    """Calls of C that give the GIL away, BLAS among them."""
    y = x
    for _ in range(3):
        y = (y @ np.eye(x.shape[1])) * 2
        dbo_yield()
    return y


def waiting(x: Any) -> Any:
    """Sleeps, so that the caller waits for others."""
    time.sleep(3e-4)
    dbo_yield()
    return x * 2


def of_tensors(x: Any) -> Any:
    """torch; too small for threads of its own, which on a busy machine wait for each other for 100 ms."""
    y = (x * 2 + 1).relu()
    dbo_yield()
    return y.sum(1)


def begin() -> None:
    """Use every schedule once, with each function."""
    pretend_cores()
    for function, x in _works():
        for schedule in SCHEDULES:
            for driver in DRIVERS:
                with microbatch.wrap(function, schedule=schedule, driver=driver, num_ubatches=3) as wrapper:
                    wrapper(x)


def case(draw: Random) -> Found:
    """One wrapper and many signals."""
    function, x = draw.choice(_works())
    options = {
        "schedule": draw.choice(SCHEDULES),
        "driver": draw.choice(DRIVERS),
        "num_ubatches": draw.randrange(2, 7),
        "thread_pool_size": draw.randrange(1, 9),
        "verify": draw.choice(("first", "first", "always")),
        "barrier_timeout": 15.0,
    }
    with microbatch.wrap(function, **options) as wrapper:
        attack = Attack(lambda: wrapper(x), function(x))
        before = signal.signal(signal.SIGALRM, attack.timer)
        try:
            _signals(attack, draw)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
    failures = tuple(f"{function.__name__} with {options}: {text}" for text in attack.failures[:2])
    return Found(units={"signals": SIGNALS, "in a step": attack.timer.hits}, failures=failures)


def _signals(attack: Attack, draw: Random) -> None:
    seconds = median(attack.undisturbed() for _ in range(7))
    for _ in range(SIGNALS):
        delays = [max(EARLIEST, draw.uniform(0.0, 1.1 * seconds))]
        if draw.random() < TWICE:
            delays.append(max(EARLIEST, draw.uniform(0.0, 0.5 * seconds)))
        attack.interrupted(delays)
        if attack.failures:
            return


def _works() -> list[tuple[Callable[[Any], Any], Any]]:
    x = np.arange(64.0 * 48).reshape(64, 48) % 97
    found: list[tuple[Callable[[Any], Any], Any]] = [(bytecodes, x), (native, x), (waiting, x)]
    torch = torch_or_none()
    return found if torch is None else [*found, (of_tensors, torch.from_numpy(x))]
