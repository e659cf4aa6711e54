"""A state that somebody has tampered with is refused or does no harm: no policy ever raises because of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import PolicyError
from microbatch.extend.chain import Chain
from microbatch.extend.records import MemoryReading, SizingRequest
from microbatch.testing.simulated_steps import SimulatedStep, histories, perform, simulated_steps, sizes_of
from microbatch_policies.auto import Auto
from microbatch_policies.latency import Latency
from microbatch_policies.memory.memory_model import MemoryModel
from microbatch_policies.pressure import Pressure
from microbatch_policies.speed.throughput import Throughput
from tests.support.damaged_state import DAMAGES, damaged, each_replaced

POLICIES: dict[str, Callable[[], Any]] = {
    "auto": Auto,
    "latency": Latency,
    "memory-model": MemoryModel,
    "pressure": Pressure,
    "throughput": Throughput,
    "chain": lambda: Chain([("memory-model", MemoryModel()), ("latency", Latency())]),
}
STEPS = st.lists(simulated_steps(), min_size=1, max_size=6)


def steps(sizes: Sequence[int], limit: int) -> list[SimulatedStep]:
    """Steps of one kind, within so many bytes."""
    memory = MemoryReading(capacity=1 << 30, in_use=0, usable=limit, peak=0, pressure=0.0)
    asked = [
        SizingRequest(
            num_tokens=size, num_requests=size, signature="same", bytes_per_unit=64, memory=memory, workers=2,
            in_flight=2, step=number, probe=bool(number % 2),
        )
        for number, size in enumerate(sizes)
    ]  # fmt: skip
    return [
        SimulatedStep(request=request, fixed=1000, slope=100 + number) for number, request in enumerate(asked)
    ]


@pytest.mark.parametrize("name", POLICIES)
def test_each_entry_of_a_state_replaced_by_each_value(name: str) -> None:
    """Numbers at the ends of what types and formulas take, and values of other types, at every place."""
    policy, later = POLICIES[name](), steps((1, 64, 4096, 1 << 20), 1 << 22)
    perform(policy, steps((64, 128, 4096, 4096, 4096, 1000, 64, 64, 4096), 1 << 20))
    for place, state in each_replaced(policy.state()):
        fresh = POLICIES[name]()
        try:
            fresh.restore(state)
            answers = perform(fresh, later)
        except ValueError as error:
            assert not isinstance(error, PolicyError), f"{place}: {error}"
            continue
        for step, answer in zip(later, answers, strict=True):
            assert 1 <= max(sizes_of(step.request, answer)) <= step.request.num_tokens, place


@pytest.mark.parametrize("name", POLICIES)
@given(taught=histories(6), damages=DAMAGES, later=STEPS)
def test_a_tampered_state_is_refused_or_does_no_harm(
    name: str, taught: list[SimulatedStep], damages: list[Any], later: list[SimulatedStep]
) -> None:
    """Refused, the policy is as it was; taken, every later answer is one, without a warning of NumPy."""
    policy, fresh = POLICIES[name](), POLICIES[name]()
    perform(policy, _alike(taught))
    before = json.dumps(fresh.state())
    try:
        fresh.restore(damaged(policy.state(), damages))
    except ValueError:
        assert json.dumps(fresh.state()) == before
    answers = perform(fresh, _alike(later))
    for step, answer in zip(_alike(later), answers, strict=True):
        assert 1 <= max(sizes_of(step.request, answer)) <= step.request.num_tokens
    json.dumps(fresh.state(), allow_nan=False)


@pytest.mark.parametrize("name", POLICIES)
@given(taught=histories(8), later=STEPS)
def test_a_state_that_nobody_touched_is_taken(
    name: str, taught: list[SimulatedStep], later: list[SimulatedStep]
) -> None:
    """After any steps, and after it was kept and loaded forty times without a step between."""
    policy = POLICIES[name]()
    perform(policy, taught)
    for _ in range(40):
        state = json.loads(json.dumps(policy.state(), allow_nan=False))
        policy = POLICIES[name]()
        policy.restore(state)
    perform(policy, later)


def _alike(steps: list[SimulatedStep]) -> list[SimulatedStep]:
    """The steps, all of one kind, so that what was learned is used."""
    return [replace(step, request=replace(step.request, signature="same")) for step in steps]
