"""What a policy may conclude from what it saw: no growth without evidence, nothing good that did not run."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from hypothesis import assume
from hypothesis import strategies as st

from microbatch.extend.protocols import SizingPolicy
from microbatch.extend.records import SizingRequest
from microbatch.testing.policy_steps import PolicySteps
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
    simulated_steps,
    sizes_of,
    units_in_flight,
)


class PolicyEvidence(PolicySteps):
    """The checks of `PolicySuite` on learning, beside those that run steps."""

    def taught(self, history: list[SimulatedStep]) -> SizingPolicy:
        """A fresh policy that has seen `history`."""
        policy = self.make()
        perform(policy, history)
        return policy

    @prop(history=histories(), step=simulated_steps())
    def check_a_failed_step_teaches_nothing(self, history: list[SimulatedStep], step: SimulatedStep) -> None:
        """An error of the function says nothing about sizes."""
        step = replace(step, outcome="error")
        policy = self.taught(history)
        other = deepcopy(policy)
        perform(policy, [step], first=len(history))
        other.propose(replace(step.request, step=len(history)))
        probe = [SimulatedStep(request=step.request)]
        assert perform(policy, probe, first=len(history) + 1) == perform(other, probe, first=len(history) + 1)

    @prop(history=histories(), request=requests(), recovered=st.booleans())
    def check_shrinks_below_a_failure(
        self, history: list[SimulatedStep], request: SizingRequest, recovered: bool
    ) -> None:
        """Told that a step ran out of memory, it makes the next smaller: its parts, or what runs at a time.

        It is told by `oom_sizes` in the report, whether the step then finished in smaller parts or failed.
        """
        policy = self.taught(history)
        step = SimulatedStep(request=request, outcome="recovered" if recovered else "out of memory")
        size, least = request.num_tokens, max(request.longest_request, -(-request.num_tokens // 256))
        for number in range(len(history), len(history) + 3 * request.num_tokens.bit_length()):
            (failed,) = perform(policy, [step], first=number)
            size = max(sizes_of(request, failed))
            if size <= least:
                return
            answer = deepcopy(policy).propose(request)
            in_flight = units_in_flight(request, answer)
            assert max(sizes_of(request, answer)) < size or in_flight < units_in_flight(request, failed)
        raise AssertionError(f"after many failures parts are still of {size} units, and {least} would do")

    @prop(
        examples=30,
        history=histories(4),
        request=requests(),
        share=st.integers(4, 64),
        steps=st.integers(1, 20),
    )
    def check_part_full_batches_never_raise_the_size(
        self, history: list[SimulatedStep], request: SizingRequest, share: int, steps: int
    ) -> None:
        """Batches far below the size, whose peaks are unknown, say nothing of larger ones: nothing that the
        passing of as many steps would not say."""
        assume(request.num_tokens >= share)
        request = replace(request, memory=None)
        policy = self.taught([*history, SimulatedStep(request=request, outcome="ran, peak unknown")])
        before = flight(deepcopy(policy), request)
        tokens = max(1, min(request.num_tokens, before) // share)
        small = replace(request, num_tokens=tokens, num_requests=1, longest_request=1, limit=None)
        untaught = deepcopy(policy)
        for step in range(steps):
            untaught.propose(replace(small, step=len(history) + 1 + step))
        taught = [SimulatedStep(request=small, outcome="ran, peak unknown")] * steps
        perform(policy, taught, first=len(history) + 1)
        assert flight(policy, request) <= max(before, flight(untaught, request))

    @prop(examples=30, history=histories(4), request=requests(), factor=st.integers(1, 64))
    def check_longer_items_never_give_more(
        self, history: list[SimulatedStep], request: SizingRequest, factor: int
    ) -> None:
        """With the same history, units of more bytes give no larger size."""
        policy = self.taught(history)
        longer = replace(
            request,
            bytes_per_unit=request.bytes_per_unit * factor,
            largest_bytes_per_unit=request.largest_bytes_per_unit * factor,
        )
        assert flight(deepcopy(policy), longer) <= flight(policy, request)

    @prop(examples=10, fixed=FIXED, slope=SLOPES, room=st.integers(4, 1 << 10), workers=WORKERS)
    def check_what_it_settles_on_has_run(self, fixed: int, slope: int, room: int, workers: int) -> None:
        """After a while the answer is a size that was tried and ran, never a bound that was only computed."""
        units = 256 * workers
        capacity = (fixed + slope * units) * room
        device = MemoryDevice(capacity=capacity, fixed=fixed, slope=slope, units=units, workers=workers)
        *tried, last = device.run(self.make(), 61)
        assert last in tried
        assert device.failures == 0
