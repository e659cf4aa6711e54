"""What a device lets a policy do: graph sizes reach it, and sizes are tried only where failing costs
nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.extend.abilities import SupportsProbe
from microbatch.extend.device import device_of
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch.sizing.conditions import ConditionsOf
from microbatch.testing import AdversarialBackend, MemoryModel
from microbatch.testing.adversarial.order import WORST_ORDERS
from microbatch.testing.given_plugins import GivenBackends
from microbatch_backends.host.backend import CpuBackend
from tests.support.ranks import FakeGroup

ROW = 64
"""Bytes of a row; also what the device rounds to."""
LIVE = 2
"""Arrays of a part that are alive at the same time, besides its input."""


class Untried(AdversarialBackend):
    """A device on which running out of memory does harm."""

    def may_probe(self) -> bool:
        return False


class Asked(GivenBackends):
    """Gives a policy that keeps what it was asked."""

    def __init__(self, device: Any) -> None:
        super().__init__(device)
        self.requests: list[SizingRequest] = []

    def policy(self, name: str) -> Any:
        return self

    def propose(self, request: SizingRequest) -> Proposal:
        self.requests.append(request)
        return Proposal(limit=2)

    def observe(self, report: StepReport) -> None:
        pass


def requested(device: Any, **options: Any) -> SizingRequest:
    """What the policy is asked in a step of 8 rows."""
    plugins = Asked(device)
    with microbatch.wrap(
        lambda x: x * 2,
        backend=device.name,
        plugins=plugins,
        policy="fixed",
        schedule="sequential",
        **options,
    ) as wrapped:
        x = device.array(np.ones((8, 2))) if hasattr(device, "array") else np.ones((8, 2))
        wrapped(x)
    return plugins.requests[-1]


def test_a_device_that_raises_is_tried_and_a_host_never() -> None:
    assert requested(AdversarialBackend(WORST_ORDERS[0])).probe
    assert not requested(Untried(WORST_ORDERS[0])).probe
    assert not requested(CpuBackend()).probe
    assert not isinstance(CpuBackend(), SupportsProbe)


def test_nothing_is_tried_by_one_rank_of_several() -> None:
    device = device_of(AdversarialBackend(WORST_ORDERS[0]))
    conditions, ranks = ConditionsOf(1, None), FakeGroup(2).ranks[0]
    assert not conditions.step(device, "sequential", ranks).probe
    assert conditions.step(device, "sequential").probe


def test_graph_sizes_reach_the_policy_where_graphs_are_on() -> None:
    device = AdversarialBackend(WORST_ORDERS[0])
    assert requested(device, graphs=True, graph_sizes=(4, 8)).graph_sizes == (4, 8)
    assert requested(device, graph_sizes=(4, 8)).graph_sizes == ()
    assert requested(device, graphs=True).graph_sizes == ()
    assert requested(CpuBackend(), graphs=True, graph_sizes=(4, 8)).graph_sizes == ()


def test_another_backend_is_asked_for_its_own() -> None:
    conditions = ConditionsOf(1, (4, 8))
    device, host = AdversarialBackend(WORST_ORDERS[0]), CpuBackend()
    found = [conditions.step(device_of(backend), "sequential") for backend in (device, host, device)]
    assert [(one.graph_sizes, one.probe) for one in found] == [((4, 8), True), ((), False), ((4, 8), True)]


def test_auto_cuts_to_captured_sizes_and_replays_them() -> None:
    # rows of 128 bytes: a batch, a result, and too little for another one, so that the step is cut whatever
    # is fastest
    model = MemoryModel(capacity=128 * (2 * 1024 + 900), caching=False)
    device = AdversarialBackend(WORST_ORDERS[0], model)
    with microbatch.wrap(
        lambda x: x * 2 + 1, backend=device.name, plugins=GivenBackends(device), policy="auto",
        schedule="sequential", graphs=True, graph_sizes=(1, 3, 12, 24, 96),
    ) as wrapped:  # fmt: skip
        values = np.arange(1024 * 16.0).reshape(1024, 16)
        x = device.array(values)
        for _ in range(12):
            np.testing.assert_array_equal(np.asarray(wrapped(x)), values * 2 + 1)
        report = wrapped.last_report
    assert report is not None and report.limit in (1, 3, 12, 24, 96)
    assert report.graph_hits == len(report.sizes)


def grown(device: Any, rows: int, steps: int) -> tuple[int, int]:
    """(parts of the last step, attempts that ran out of memory) of `memory-model` on a device."""
    failures = 0
    with microbatch.wrap(
        lambda x: (x * 2 + 1) * 3, backend=device.name, plugins=GivenBackends(device), policy="memory-model",
        schedule="sequential",
    ) as wrapped:  # fmt: skip
        x = device.array(np.arange(rows * 8.0).reshape(rows, 8))
        for _ in range(steps):
            wrapped(x)
            report = wrapped.last_report
            assert report is not None
            failures += len(report.oom_sizes)
    return len(report.sizes), failures


@pytest.mark.counted
@pytest.mark.parametrize(("rows", "spare"), [(300, 220), (150, 410), (611, 1500), (258, 463), (392, 290)])
def test_with_probing_sizes_go_up_to_the_capacity_and_few_fail(rows: int, spare: int) -> None:
    model = MemoryModel(capacity=ROW * (2 * rows + spare), caching=False)
    parts, failures = grown(AdversarialBackend(WORST_ORDERS[0], model), rows, 14)
    assert parts <= 2 * -(-rows * LIVE // spare)
    assert failures <= 2
    assert grown(Untried(WORST_ORDERS[0], model), rows, 14)[1] == 0


@pytest.mark.counted
@pytest.mark.parametrize(("rows", "spare"), [(1500, 300), (281, 84), (124, 73)])
def test_probing_finds_the_capacity_where_nothing_else_shows_it(rows: int, spare: int) -> None:
    """The peaks of smaller parts do not show: the mark of the highest memory stays where it is."""
    model = MemoryModel(capacity=ROW * (2 * rows + spare), caching=False)
    probing, _ = grown(AdversarialBackend(WORST_ORDERS[0], model), rows, 14)
    careful, failures = grown(Untried(WORST_ORDERS[0], model), rows, 14)
    assert probing < careful
    assert failures == 0
