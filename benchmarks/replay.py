"""A memory with a limit, and our policies run on it: what `sizing` measures, without a device.

A part of n units needs `fixed + slope * n` bytes, with relative noise; it runs out when that exceeds the limit. All
searches see the same drawn limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.searches import CAP, Search, Sizer
from microbatch.extend.protocols import SizingPolicy
from microbatch.extend.records import FailureKind, MemoryReading, SizingRequest, StepReport

TRIALS = 12
"""Most trials of our search."""
PATIENCE = 3
"""It ends earlier when it has proposed nothing larger than what ran for so many trials: these are steps of work
done, and each makes the bound tighter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a search or a trace went."""

    trials: int
    """Attempts, failed ones included."""
    failures: int
    """Attempts that ran out of memory."""
    utilisation: float
    """Size against the largest that would have run."""


class Device:
    """A memory in which `capacity` units fit (a real number: memory is not made of rows)."""

    def __init__(self, rng: np.random.Generator, capacity: float, noise: float = 0.0) -> None:
        self._rng, self._noise = rng, noise
        self.slope = float(rng.uniform(1e5, 1e7))
        self.fixed = self.slope * float(rng.uniform(0, 16))
        self.input_bytes = max(1, int(self.slope / 2 ** rng.uniform(0, 5)))
        self.capacity = capacity

    @property
    def limit(self) -> float:
        """Bytes there are."""
        return self.fixed + self.slope * self.capacity

    def peak(self, size: int) -> float:
        """Bytes that a part of `size` units needs this time."""
        return (self.fixed + self.slope * size) * (1 + self._noise * float(self._rng.standard_normal()))


def capacities(rng: np.random.Generator, count: int) -> Iterator[float]:
    """Log-uniform from 1 to 1024."""
    return (float(value) for value in 2 ** rng.uniform(0, 10, count))


def run_search(search: Search, device: Device) -> Outcome:
    """Play one search of another project on `device`."""
    trials = failures = 0
    try:
        size = next(search)
        while True:
            trials += 1
            ran = device.peak(size) <= device.limit
            failures += not ran
            size = search.send(ran)
    except StopIteration as stop:
        return Outcome(trials=trials, failures=failures, utilisation=_share(stop.value, device.capacity))


def run_policy(policy: SizingPolicy, device: Device) -> Outcome:
    """Let a policy of ours look for the size on `device`, whose limit it is told."""
    best = trials = failures = same = 0
    for step in range(TRIALS):
        size = policy.propose(request(device, step, memory_limit=int(device.limit))).limit or CAP
        same = same + 1 if size <= best else 0
        if same > PATIENCE:
            break
        trials += 1
        peak = device.peak(size)
        if peak <= device.limit:
            best = max(best, size)
        else:
            failures += 1
        policy.observe(report(step, size, peak, failed=peak > device.limit))
    return Outcome(trials=trials, failures=failures, utilisation=_share(best, device.capacity))


def run_trace(policy: SizingPolicy, device: Device, trace: list[float], rng: np.random.Generator) -> Outcome:
    """One step per limit of `trace`; the policy reads the memory with 2 % noise before each."""
    used, trials, failures = 0.0, 0, 0
    for step, capacity in enumerate(trace):
        device.capacity = capacity
        asked = request(device, step, memory=_reading(device, rng))
        size = policy.propose(asked).limit or CAP
        while device.peak(size) > device.limit and size > 1:
            failures, trials = failures + 1, trials + 1
            policy.observe(report(step, size, 0, failed=True))
            size = policy.propose(replace(asked, failed_at=size)).limit or CAP
        policy.observe(report(step, size, device.peak(size), failed=False))
        used, trials = used + _share(size, capacity), trials + 1
    return Outcome(trials=trials, failures=failures, utilisation=used / len(trace))


def run_sizer(sizer: Sizer, trace: list[float]) -> Outcome:
    """The same for a rule of another project, which reads nothing."""
    used, trials, failures = 0.0, 0, 0
    for capacity in trace:
        size = sizer.next()
        while size > capacity and size > 1:
            failures, trials = failures + 1, trials + 1
            sizer.failed()
            size = sizer.next()
        sizer.ran()
        used, trials = used + _share(size, capacity), trials + 1
    return Outcome(trials=trials, failures=failures, utilisation=used / len(trace))


def changing(rng: np.random.Generator) -> list[float]:
    """512 units, then 300, then 512, then drawn anew each step around 480; 100 steps each."""
    jitter = np.clip(rng.normal(480, 24, 100), 400, 560)
    return [512.5] * 100 + [300.5] * 100 + [512.5] * 100 + [float(value) for value in jitter]


def request(
    device: Device, step: int, memory: MemoryReading | None = None, memory_limit: int | None = None
) -> SizingRequest:
    """What the planner would ask for a batch of 1024 rows."""
    return SizingRequest(
        num_tokens=CAP,
        num_requests=CAP,
        bytes_per_unit=device.input_bytes,
        largest_bytes_per_unit=device.input_bytes,
        signature="replay",
        memory=memory,
        memory_limit=memory_limit,
        step=step,
        probe=True,
    )


def report(step: int, size: int, peak: float, *, failed: bool) -> StepReport:
    """What a step with parts of `size` rows would report."""
    count = -(-CAP // size)
    return StepReport(
        step=step,
        num_tokens=CAP,
        num_requests=CAP,
        sizes=tuple([size] * (count - 1) + [CAP - size * (count - 1)]),
        seconds=1.0,
        signature="replay",
        limit=size,
        peak_bytes=None if failed else int(peak),
        oom_sizes=(size,) if failed else (),
        failure=FailureKind.OOM if failed else None,
    )


def _reading(device: Device, rng: np.random.Generator) -> MemoryReading:
    usable = int(device.limit * (1 + 0.02 * float(rng.standard_normal())))
    return MemoryReading(capacity=usable, in_use=0, usable=usable, peak=0, pressure=0.0)


def _share(size: int, capacity: float) -> float:
    return min(1.0, size / int(capacity))
