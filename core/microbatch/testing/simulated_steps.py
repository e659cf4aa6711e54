"""Steps as a sizing policy sees them: drawn requests, and what became of them, without running anything.

Invariant: a report says what the planner would have run after the policy's answer: at least the longest
request, at most the batch, cut evenly; as many parts as were asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from hypothesis import strategies as st

from microbatch.extend.chain import checked
from microbatch.extend.protocols import SizingPolicy
from microbatch.extend.records import FailureKind, MemoryReading, Proposal, SizingRequest, StepReport
from microbatch.sizing.wanted import wanted

Outcome = Literal["ran", "ran, peak unknown", "recovered", "out of memory", "error"]
"""Recovered: a part ran out of memory, and its rows then ran in parts of half its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStep:
    """One step: what is asked, and what will become of it."""

    request: SizingRequest
    """What the policy is asked."""
    outcome: Outcome = "ran"
    """What happens to the step, whatever its size."""
    fixed: int = 0
    """Bytes of the peak that do not depend on the size."""
    slope: int = 1
    """Bytes of the peak per unit in flight."""
    overhead: float = 1e-5
    """Seconds per ubatch."""
    pace: float = 1e-6
    """Seconds per unit."""


@st.composite
def requests(draw: st.DrawFn) -> SizingRequest:
    """Requests over small and large batches, with and without lengths, readings, limits and graphs."""
    num_tokens = draw(st.one_of(st.integers(1, 64), st.integers(1, 1 << 20)))
    unit = draw(st.sampled_from(["rows", "tokens", "cost"]))
    per_unit = draw(st.sampled_from([0, 1, 4, 256, 4096, 1 << 20]))
    workers = draw(st.integers(1, 8))
    return SizingRequest(
        num_tokens=num_tokens,
        num_requests=draw(st.integers(1, num_tokens)),
        unit=unit,
        longest_request=1 if unit == "rows" else draw(st.integers(1, min(num_tokens, 2048))),
        bytes_per_unit=per_unit,
        largest_bytes_per_unit=per_unit,
        signature=draw(st.sampled_from(["", "f4[64]", "f4[1024],i8"])),
        memory=draw(st.none() | readings()),
        memory_limit=draw(st.none() | st.integers(1, 1 << 40)),
        workers=workers,
        in_flight=workers,
        graph_sizes=draw(st.sampled_from([(), (1, 2, 4, 8, 16), (64,), (3, 5, 256)])),
        num_ubatches=draw(st.integers(1, 8)),
        max_tokens=draw(st.integers(1, 4096)),
        decode=draw(st.booleans()),
        probe=draw(st.booleans()),
    )


@st.composite
def readings(draw: st.DrawFn) -> MemoryReading:
    """Memory readings, full ones and ones that could not be had (capacity 0) among them."""
    capacity = draw(st.sampled_from([0, 1 << 20, 1 << 30, 1 << 37]))
    in_use = draw(st.integers(0, capacity))
    return MemoryReading(
        capacity=capacity,
        in_use=in_use,
        usable=draw(st.integers(0, capacity - in_use)),
        peak=draw(st.integers(in_use, capacity)),
        pressure=draw(st.floats(0, 1.5)),
    )


def simulated_steps() -> st.SearchStrategy[SimulatedStep]:
    """One drawn step."""
    outcomes = ["ran", "ran", "ran, peak unknown", "recovered", "out of memory", "error"]
    return st.builds(
        SimulatedStep,
        request=requests(),
        outcome=st.sampled_from(outcomes),
        fixed=st.integers(0, 1 << 30),
        slope=st.integers(1, 1 << 24),
        overhead=st.floats(0, 1e-2),
        pace=st.floats(1e-9, 1e-3),
    )


def histories(most: int = 8) -> st.SearchStrategy[list[SimulatedStep]]:
    """Several steps in a row."""
    return st.lists(simulated_steps(), max_size=most)


def perform(policy: SizingPolicy, history: list[SimulatedStep], first: int = 0) -> list[Proposal]:
    """Ask and teach `policy` step by step; returns its answers. Raises PolicyError for one that is none."""
    watched = checked(policy, type(policy).__name__)
    answers = []
    for number, step in enumerate(history, first):
        answer = watched.propose(replace(step.request, step=number))
        watched.observe(report(step, answer, number))
        answers.append(answer)
    return answers


def report(step: SimulatedStep, answer: Proposal, number: int) -> StepReport:
    """The report of a step that was cut as `answer` says."""
    request = step.request
    sizes, limit = _cut(request, answer)
    side = min(len(sizes), answer.workers or request.workers, request.workers)
    out_of_memory = step.outcome in ("recovered", "out of memory")
    peak = step.fixed + step.slope * units_in_flight(request, answer)
    cut = len(sizes) > 1
    seconds = len(sizes) * step.overhead / side + request.num_tokens * step.pace
    return StepReport(
        step=number,
        num_tokens=request.num_tokens,
        num_requests=request.num_requests,
        sizes=sizes,
        seconds=seconds,
        ubatch_seconds=tuple(step.overhead + size * step.pace for size in sizes) if cut else (),
        unit=request.unit,
        signature=request.signature,
        limit=limit,
        workers=side,
        peak_bytes=peak if step.outcome == "ran" else None,
        memory_before=request.memory,
        oom_sizes=(max(sizes),) if out_of_memory else (),
        failure={"out of memory": FailureKind.OOM, "error": FailureKind.OTHER}.get(step.outcome),
    )


def sizes_of(request: SizingRequest, answer: Proposal) -> tuple[int, ...]:
    """Units of each ubatch as the planner would cut, at most 256 of them so that reports stay small."""
    return _cut(request, answer)[0]


def _cut(request: SizingRequest, answer: Proposal) -> tuple[tuple[int, ...], int | None]:
    """Units of each ubatch, and the limit that the report tells of."""
    total = request.num_tokens
    due = wanted(request, answer, min(request.num_requests, 256))
    if due.whole:
        return (total,), None
    limit = max(due.limit or total, -(-total // 256))
    count = max(due.count, -(-total // limit))
    sizes = tuple(total // count + (index < total % count) for index in range(count))
    return sizes, sizes[0] if count == due.count else due.limit


def flight(policy: SizingPolicy, request: SizingRequest) -> int:
    """Units in flight of the policy's answer."""
    return units_in_flight(request, policy.propose(request))


def units_in_flight(request: SizingRequest, answer: Proposal) -> int:
    """The most units that run at the same time when the batch is cut as `answer` says."""
    sizes = sizes_of(request, answer)
    return sum(sorted(sizes)[-min(request.workers, answer.workers or request.workers) :])


FIXED, SLOPES, WORKERS = st.integers(0, 1 << 20), st.integers(32, 1 << 16), st.integers(1, 4)
"""Numbers of a `MemoryDevice`."""


@dataclass(slots=True, kw_only=True)
class MemoryDevice:
    """A memory in which x units in flight need `fixed + slope * x` bytes, and steps of one batch on it."""

    capacity: int
    """Bytes of the memory."""
    fixed: int
    """Bytes that a step needs whatever its size."""
    slope: int
    """Bytes that a unit in flight needs; its input is a 32nd of them."""
    units: int
    """Units of the batch."""
    workers: int = 1
    """How many parts may run at the same time."""
    failures: int = 0
    """Steps that ran out of memory so far."""
    step: int = 0
    """Number of the next step."""

    @property
    def fits(self) -> int:
        """The most units in flight that fit."""
        return max(0, (self.capacity - self.fixed) // self.slope)

    def run(self, policy: SizingPolicy, steps: int = 1) -> list[int]:
        """Steps that `policy` sizes; returns the units in flight of each."""
        return [self._step(checked(policy, type(policy).__name__)) for _ in range(steps)]

    def _step(self, policy: SizingPolicy) -> int:
        request = self._request()
        step = SimulatedStep(request=request, fixed=self.fixed, slope=self.slope, overhead=1e-3)
        answer = policy.propose(request)
        made = report(step, answer, self.step)
        flight = units_in_flight(request, answer)
        if flight > self.fits:
            self.failures += 1
            made = report(replace(step, outcome="recovered"), answer, self.step)
            made = replace(made, oom_sizes=tuple(self._halves(max(made.sizes), made.workers)))
        policy.observe(made)
        self.step += 1
        return flight

    def _request(self) -> SizingRequest:
        memory = MemoryReading(capacity=self.capacity, in_use=0, usable=self.capacity, peak=0, pressure=0.0)
        return SizingRequest(
            num_tokens=self.units,
            num_requests=self.units,
            bytes_per_unit=max(1, self.slope // 32),
            largest_bytes_per_unit=max(1, self.slope // 32),
            signature="device",
            memory=memory,
            workers=self.workers,
            in_flight=self.workers,
            step=self.step,
        )

    def _halves(self, size: int, workers: int) -> Iterator[int]:
        """The sizes that fail one after another until one fits, as a step halves what failed."""
        while size and size * workers > self.fits:
            yield size
            size //= 2
