"""What every sizing policy must do: subclass `PolicySuite`, give `make`, get the conformance tests.

    class TestMine(PolicySuite):
        def make(self):
            return MyPolicy()

A check that a policy does not promise is named in `not_promised` with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import strategies as st

from microbatch.extend.abilities import SupportsState
from microbatch.extend.records import MemoryReading, Proposal, SizingRequest, StepReport
from microbatch.testing.policy_evidence import PolicyEvidence
from microbatch.testing.properties import prop
from microbatch.testing.simulated_steps import (
    FIXED,
    SLOPES,
    WORKERS,
    MemoryDevice,
    SimulatedStep,
    flight,
    histories,
    perform,
    requests,
    sizes_of,
)
from microbatch.testing.strategies.numbers import step_outcomes

GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "1 every request once, in order": (
            "every_row_once_and_in_order", "answers_are_valid", "any_report_may_be_observed",
        ),
        "2 progress, and an end": ("ends_whatever_fits", "shrinks_below_a_failure"),
        "3 budget": ("never_runs_out_of_memory",),
        "4 monotone": (
            "less_memory_never_gives_more", "more_pressure_never_gives_more", "longer_items_never_give_more",
            "settled_less_memory_never_gives_more",
        ),
        "5 bounded oscillation": ("settles",),
        "6 recovery": ("recovers_when_memory_returns",),
        "7 no growth without evidence": (
            "part_full_batches_never_raise_the_size", "a_failed_step_teaches_nothing",
        ),
        "8 only tested sizes are known good": ("what_it_settles_on_has_run",),
        "9 determinism": ("deterministic",),
        "10 round trip": ("state_survives_json", "foreign_state_is_refused"),
        "11 other errors are never retried": ("other_errors_are_never_retried",),
        "12 nothing of a failed attempt is alive": ("nothing_of_a_failed_attempt_is_alive",),
    }
)  # fmt: skip
"""The twelve properties of a sizing policy and of what runs it, each with the checks that show it."""

SHARES = st.tuples(st.floats(0.05, 1), st.floats(0.05, 1))
"""Two parts of a memory."""
FOREIGN: tuple[Any, ...] = (
    {},
    {"policy": "another", "version": 1, "kinds": {}},
    {"policy": None, "version": 99},
    {"version": 1, "kinds": {"": {"model": "nonsense"}}},
)
"""States of other policies."""


class PolicySuite(PolicyEvidence):
    """Conformance of one sizing policy."""

    @prop(history=histories(), request=requests())
    def check_answers_are_valid(self, history: list[SimulatedStep], request: SizingRequest) -> None:
        """After any history, to any request, the answer is a proposal within the batch."""
        policy = self.make()
        answers = perform(policy, [*history, SimulatedStep(request=request)])
        assert all(isinstance(answer, Proposal) for answer in answers)
        assert 1 <= max(sizes_of(request, answers[-1])) <= request.num_tokens

    @prop(history=histories(), request=requests())
    def check_deterministic(self, history: list[SimulatedStep], request: SizingRequest) -> None:
        """The same history gives the same answer: no clock, no random number, no shared state."""
        play = [*history, SimulatedStep(request=request)]
        assert perform(self.make(), play) == perform(self.make(), play)

    @prop(outcomes=st.lists(step_outcomes(), max_size=6), request=requests())
    def check_any_report_may_be_observed(self, outcomes: list[StepReport], request: SizingRequest) -> None:
        """Reports of steps it was never asked about (a cut the caller gave) raise nothing, and it goes on."""
        policy = self.make()
        for outcome in outcomes:
            policy.observe(outcome)
        (answer,) = perform(policy, [SimulatedStep(request=request)])
        assert 1 <= max(sizes_of(request, answer)) <= request.num_tokens

    @prop(history=histories(), request=requests(), smaller=st.floats(0, 1))
    def check_less_memory_never_gives_more(
        self, history: list[SimulatedStep], request: SizingRequest, smaller: float
    ) -> None:
        """With the same history, a smaller limit or a smaller reading gives no larger size."""
        policy = self.taught(history)
        roomy = replace(request, memory=_reading(1 << 34), memory_limit=1 << 34)
        usable = int((1 << 34) * smaller)
        tight = replace(roomy, memory=_reading(usable), memory_limit=usable)
        assert flight(deepcopy(policy), tight) <= flight(policy, roomy)

    @prop(history=histories(), request=requests(), pressures=st.tuples(st.floats(0, 1), st.floats(0, 1)))
    def check_more_pressure_never_gives_more(
        self, history: list[SimulatedStep], request: SizingRequest, pressures: tuple[float, float]
    ) -> None:
        """With the same history, more pressure gives no larger size."""
        policy = self.taught(history)
        low, high = (
            replace(request, memory=_reading(1 << 34, pressure=pressure)) for pressure in sorted(pressures)
        )
        assert flight(deepcopy(policy), high) <= flight(policy, low)

    @prop(examples=15, slope=SLOPES, fits=st.integers(32, 256), shares=SHARES)
    def check_settled_less_memory_never_gives_more(
        self, slope: int, fits: int, shares: tuple[float, float]
    ) -> None:
        """Come to rest with less memory, it takes no more than come to rest with more; a search for speed
        that is still going on may try another side of its curve first."""
        device = _device(slope, slope, fits, 1)
        policy = self.make()
        device.run(policy, 40)
        full, sizes = device.capacity, []
        for share in sorted(shares):
            device.capacity = int(full * share)
            sizes.append(_at_rest(device.run(deepcopy(policy), 25)))
        assert sizes[0] <= sizes[1]

    @prop(fixed=FIXED, slope=SLOPES, fits=st.integers(8, 512), workers=WORKERS)
    def check_settles(self, fixed: int, slope: int, fits: int, workers: int) -> None:
        """Under constant conditions the size comes to rest within 5 % of one value. One step in ten may look
        elsewhere: a policy that never does so does not see when another size has become the better one."""
        sizes = _device(fixed, slope, fits, workers).run(self.make(), 100)[-20:]
        away = [size for size in sizes if not _near(size, _at_rest(sizes), workers)]
        assert len(away) <= len(sizes) // 10

    @prop(fixed=FIXED, slope=SLOPES, fits=st.integers(8, 512), workers=WORKERS)
    def check_never_runs_out_of_memory(self, fixed: int, slope: int, fits: int, workers: int) -> None:
        """Where peaks follow the model and one unit needs no more than 64 times its input, nothing fails."""
        slope -= slope % 32  # a unit's input is a whole number of bytes, a 32nd of what it needs
        device = _device(min(fixed, slope * 2), slope, fits, workers)
        device.run(self.make(), 40)
        assert device.failures == 0

    @prop(slope=SLOPES, fits=st.integers(32, 256), squeeze=st.floats(0.2, 0.9))
    def check_recovers_when_memory_returns(self, slope: int, fits: int, squeeze: float) -> None:
        """After a squeeze the size is at least 90 % of what it was before."""
        device = _device(slope, slope, fits, 1)
        policy = self.make()
        before = _at_rest(device.run(policy, 40))
        full = device.capacity
        device.capacity = int(full * squeeze)
        device.run(policy, 40)
        device.capacity = full
        assert _at_rest(device.run(policy, 70)) >= 0.9 * before

    @prop(history=histories(), request=requests())
    def check_state_survives_json(self, history: list[SimulatedStep], request: SizingRequest) -> None:
        """What is kept is JSON, and two policies that take it back answer the same."""
        policy = self._stateful()
        perform(policy, history)
        text = json.dumps(policy.state(), allow_nan=False)
        loaded = []
        for _ in range(2):
            fresh = self._stateful()
            fresh.restore(json.loads(text))
            assert json.loads(json.dumps(fresh.state())).keys() == json.loads(text).keys()
            loaded.append(perform(fresh, [*history, SimulatedStep(request=request)]))
        assert loaded[0] == loaded[1]

    @prop(history=histories(4), foreign=st.sampled_from(FOREIGN), request=requests())
    def check_foreign_state_is_refused(
        self, history: list[SimulatedStep], foreign: Any, request: SizingRequest
    ) -> None:
        """State of another policy raises ValueError and changes nothing."""
        policy = self._stateful()
        perform(policy, history)
        other = deepcopy(policy)
        with pytest.raises(ValueError):
            policy.restore(foreign)
        probe = [SimulatedStep(request=request)]
        assert perform(policy, probe) == perform(other, probe)

    def _stateful(self) -> Any:
        policy = self.make()
        if not isinstance(policy, SupportsState):
            pytest.skip("this policy keeps no state (SupportsState)")
        return policy


def _reading(usable: int, pressure: float = 0.0) -> MemoryReading:
    return MemoryReading(capacity=1 << 34, in_use=0, usable=usable, peak=0, pressure=pressure)


def _at_rest(sizes: list[int]) -> int:
    """The size of most of the last steps, of which one or two may look elsewhere."""
    return sorted(sizes[-9:])[4]


def _near(size: int, rest: int, workers: int) -> bool:
    return max(size, rest) <= 1.05 * min(size, rest) + workers


def _device(fixed: int, slope: int, fits: int, workers: int) -> MemoryDevice:
    capacity = (fixed + slope * fits * workers) * 20 // 19 + slope
    return MemoryDevice(capacity=capacity, fixed=fixed, slope=slope, units=256 * workers, workers=workers)
