"""Collectives of `torch.distributed` on the simulated device, between real processes of a gloo group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from microbatch import dbo
from microbatch.testing import torch_device
from tests.support.gloo import GlooRanks

SEEDS = 6


@pytest.fixture(scope="module")
def ranks() -> Iterator[GlooRanks]:
    """Two of them."""
    with GlooRanks(2) as made:
        yield made


def reduced(rank: int, seed: int, waits: bool) -> tuple[list[float], int]:
    """An all-reduce beside other work; (its result plus one, how much is unordered)."""
    with torch_device(seed) as device:
        x = torch.full((4,), float(rank + 1), device="cuda")
        work = torch.distributed.all_reduce(x, async_op=True)
        other = torch.ones(4, device="cuda") * 2
        if waits:
            work.wait()
        y = (x + 1).tolist()
        work.wait()
        torch.cuda.synchronize()
        assert other.tolist() == [2.0] * 4
        return y, len(device.races())


def exchanged(rank: int, seed: int) -> tuple[bool, int]:
    """A dual batch with an all-to-all between its yield points; (as plain, how much is unordered)."""
    import microbatch

    def block(x: Any) -> Any:
        h = torch.relu(x) * 2
        received = torch.empty_like(h)
        dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
        torch.distributed.all_to_all_single(received, h)
        dbo.dbo_yield_and_switch_from_comm_to_compute("dispatched")
        return received + 1

    with torch_device(seed) as device, torch.inference_mode():
        x = torch.randn(8, 4, generator=torch.Generator("cuda").manual_seed(rank), device="cuda")
        expected = [block(part) for part in x.split(4)]
        with microbatch.wrap(
            block, backend="torch-cuda", schedule="pingpong", num_ubatches=2, policy="fixed", verify="never"
        ) as step:
            result = step(x)
        return torch.equal(result.cpu(), torch.cat(expected).cpu()), len(device.races())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_collective_that_is_waited_for_is_right(ranks: GlooRanks, seed: int) -> None:
    """Both ranks have the sum."""
    assert ranks.run(reduced, seed, True) == [([4.0] * 4, 0)] * 2


def test_a_collective_that_nobody_waits_for_is_found(ranks: GlooRanks) -> None:
    """By name under every order, and by a value under some."""
    answers = [answer for seed in range(SEEDS) for answer in ranks.run(reduced, seed, False)]
    assert all(races for _, races in answers)
    assert any(values != [4.0] * 4 for values, _ in answers)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_dual_batch_hides_an_all_to_all(ranks: GlooRanks, seed: int) -> None:
    """And gives what the plain calls give."""
    assert ranks.run(exchanged, seed) == [(True, 0)] * 2
