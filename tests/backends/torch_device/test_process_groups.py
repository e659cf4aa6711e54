"""Ranks in a real gloo group: equal numbers, errors within their limits, and what a process is a rank of."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="ranks are torch's")
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this build of torch has no gloo",
)

import microbatch
from microbatch.errors import ArgumentTypeError, RanksError, WaitTimeoutError
from microbatch_backends.host.backend import CpuBackend
from microbatch_backends.torch_device.backend import TorchCpuBackend
from tests.support.communicating import FUNCTIONS, MIXING, drawn_steps, wrong_steps
from tests.support.gloo import GlooRanks

LATE = 1.0
"""Seconds that ranks wait for each other in these tests."""


@pytest.fixture(scope="module")
def two() -> Iterator[GlooRanks]:
    with GlooRanks(2) as ranks:
        yield ranks


@pytest.fixture(scope="module")
def four() -> Iterator[GlooRanks]:
    with GlooRanks(4) as ranks:
        yield ranks


@pytest.mark.parametrize("options", [{}, {"verify": "never"}])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_default_options_on_two_ranks(two: GlooRanks, name: str, options: dict[str, Any]) -> None:
    """Large batches, which `auto` cuts where it is told that it may; a rank has fewer rows than the other,
    and none."""
    rows = [[20_000, 6_000], [20_000, 20_000], [5_000, 0], [1, 9_000]]
    assert two.run(wrong_steps, name, rows, options) == [[], []]


@pytest.mark.parametrize("options", [{}, {"verify": "never"}])
@pytest.mark.parametrize("name", ["all_reduced", "nested"])
def test_default_options_on_four_ranks(four: GlooRanks, name: str, options: dict[str, Any]) -> None:
    assert four.run(wrong_steps, name, [[9_000, 6_000, 0, 11], [3_000] * 4], options) == [[]] * 4


@pytest.mark.parametrize(
    "options", [{}, {"num_ubatches": 3}, {"max_tokens_per_ubatch": 500, "schedule": "pingpong"}]
)
@pytest.mark.parametrize("name", MIXING)
def test_rows_that_depend_on_each_other_are_never_parted(
    two: GlooRanks, four: GlooRanks, name: str, options: dict[str, Any]
) -> None:
    """Large batches again, and nothing said about them; a rank has fewer rows than the others."""
    assert two.run(wrong_steps, name, [[20_000, 6_000], [9_000, 1], [7, 7]], options) == [[], []]
    assert four.run(wrong_steps, name, [[20_000, 9_000, 3_000, 2]] * 2, options) == [[]] * 4


@pytest.mark.parametrize("case", range(6))
def test_drawn_imbalances(two: GlooRanks, case: int) -> None:
    """200 of them are in the campaign."""
    assert two.run(wrong_steps, *drawn_steps(Random(case), 2)) == [[], []]


def test_an_error_on_one_rank_ends_the_others_within_the_limit_of_the_group(two: GlooRanks) -> None:
    """The error reaches its caller at once, gloo ends the collective that the others are in, and the ranks
    can run steps again, over other connections than the group's."""
    (own, took), (other, waited) = two.run(failing_inside)
    assert own[0] == "ValueError" and own[1] == "bad row" and "raised on rank 0" in own[2]
    assert other[0] == "RuntimeError" and "another rank has left it" in other[2]
    assert took < LATE and waited < LATE + 10


def failing_inside(rank: int) -> tuple[tuple[str, str, str], float]:
    group = torch.distributed.new_group(timeout=timedelta(seconds=LATE))

    def function(x: Any) -> Any:
        if rank == 0:
            raise ValueError("bad row")
        torch.distributed.all_reduce(x, group=group)
        return x

    with microbatch.wrap(function, num_ubatches=2, process_group=group, verify="never") as wrapped:
        started = time.monotonic()
        try:
            wrapped(torch.ones(4, 2))
        except Exception as error:  # noqa: BLE001 - told to the test
            told = type(error).__name__, str(error), "".join(getattr(error, "__notes__", ()))
        took = time.monotonic() - started
    torch.distributed.barrier()
    with microbatch.wrap(lambda x: x + 1, num_ubatches=2, process_group=group, verify="never") as again:
        assert (again(torch.zeros(4, 2)) == 1).all()
    return told, took


def test_a_rank_that_is_late_is_a_sentence_on_both_sides_and_then_all_goes_on(two: GlooRanks) -> None:
    first, second = two.run(coming_late)
    assert first[0] == "WaitTimeoutError" and "every rank must call the wrapper equally often" in first[1]
    assert second[0] == "RanksError" and "has given up waiting" in second[1]


def coming_late(rank: int) -> tuple[str, str]:
    told = ("", "")
    with microbatch.wrap(lambda x: x + 1, num_ubatches=2, barrier_timeout=0.3, verify="never") as wrapped:
        wrapped(torch.zeros(4, 2))
        torch.distributed.barrier()
        if rank == 1:
            torch.distributed.barrier()  # until the other has given up
        try:
            wrapped(torch.zeros(4, 2))
        except (WaitTimeoutError, RanksError) as error:
            told = type(error).__name__, str(error)
        if rank == 0:
            torch.distributed.barrier()
    with microbatch.wrap(lambda x: x + 1, num_ubatches=2, verify="never") as patient:
        assert (patient(torch.zeros(4, 2)) == 1).all()
    return told


def test_a_forked_child_is_no_rank(two: GlooRanks) -> None:
    """It has no connections; a step of it runs alone. So it is with the workers that load data."""
    assert two.run(in_a_forked_child) == [True, True]


def in_a_forked_child(rank: int) -> bool:
    backend = CpuBackend()
    assert backend.ranks(None) is not None
    child = os.fork()
    if not child:
        with microbatch.wrap(lambda x: x + 1, num_ubatches=2, barrier_timeout=0.3, verify="never") as wrapped:
            alone = backend.ranks(None) is None and (wrapped(np.zeros((4, 2))) == 1).all()
        os._exit(0 if alone else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_which_group(two: GlooRanks) -> None:
    assert two.run(in_groups) == [True, True]


def in_groups(rank: int) -> bool:
    distributed = torch.distributed
    alone = [distributed.new_group([each]) for each in range(2)]
    both, cpu = distributed.new_group(), TorchCpuBackend()
    found = cpu.ranks(both)
    assert found is not None and found is CpuBackend().ranks(both) and found is not cpu.ranks(None)
    assert (found.rank, found.size) == (rank, 2)
    assert cpu.ranks(alone[rank]) is None and cpu.ranks(alone[1 - rank]) is None
    with pytest.raises(ArgumentTypeError, match=r"torch\.distributed\.new_group"):
        cpu.ranks(3)
    calls = []
    with microbatch.wrap(
        lambda x: calls.append(len(x)) or x, process_group=alone[rank], num_ubatches=2
    ) as own:
        own(torch.zeros(4 + 4 * rank, 1))  # alone in it, so nobody is waited for
    return sum(calls[-2:]) == 4 + 4 * rank


def test_outside_of_a_group_there_are_no_ranks() -> None:
    assert CpuBackend().ranks(None) is None and TorchCpuBackend().ranks(None) is None
