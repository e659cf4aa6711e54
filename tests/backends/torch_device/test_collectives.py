"""Yield points at collectives: models that know nothing of them take turns, alike on each rank."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the collectives are torch's")
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this build of torch has no gloo",
)

import microbatch
from microbatch import dbo
from tests.support.communicating import FUNCTIONS, batch
from tests.support.gloo import GlooRanks

DRIVERS = ("threads", "greenlets") if importlib.util.find_spec("greenlet") else ("threads",)
STARTS = ("all_reduce", "asynchronous", "all_gather", "all_to_all_single", "functional", "coalesced")


@pytest.fixture(scope="module")
def two() -> Iterator[GlooRanks]:
    with GlooRanks(2) as ranks:
        yield ranks


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("name", STARTS)
def test_the_turn_is_passed_between_start_and_wait(two: GlooRanks, name: str, driver: str) -> None:
    """Two layers of two ubatches: each starts its collective before the sibling computes."""
    turns = [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert two.run(order_of_layers, name, driver, True) == [turns, turns]


def test_without_the_option_nothing_is_passed(two: GlooRanks) -> None:
    """Also where the hooks are set already."""
    turns = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert two.run(order_of_layers, "all_reduce", "threads", True)[0] != turns
    assert two.run(order_of_layers, "all_reduce", "threads", False) == [turns, turns]


def order_of_layers(rank: int, name: str, driver: str, at_collectives: bool) -> list[tuple[int, int]]:
    """(ubatch, layer) in the order in which layers begin; by the option or by the block, in turns."""
    distributed, order = torch.distributed, []
    functional = distributed._functional_collectives

    def communicated(y: Any) -> Any:
        if name == "all_reduce":
            distributed.all_reduce(y)
        elif name == "asynchronous":
            distributed.all_reduce(y, async_op=True).wait()
        elif name == "all_gather":
            both = [torch.empty_like(y) for _ in range(2)]
            distributed.all_gather(both, y)
            return both[0] + both[1]
        elif name == "all_to_all_single":
            sent, arrived = torch.stack([y, y]), torch.empty(2, *y.shape)
            distributed.all_to_all_single(arrived, sent)
            return arrived.sum(0)
        elif name == "functional":
            return functional.all_reduce(y, "sum", distributed.group.WORLD)
        else:
            return functional.all_reduce_coalesced([y], "sum", distributed.group.WORLD)[0]
        return y

    def model(x: Any) -> Any:
        for layer in range(2):
            order.append((dbo.dbo_current_ubatch_id(), layer))
            x = communicated(x * 2) + 1
        return x

    by_option = at_collectives and name != "all_gather"
    block = microbatch.yield_at_collectives() if at_collectives and not by_option else nullcontext()
    x = torch.ones(4, 3) * (rank + 1)
    expected = model(x)
    order.clear()
    with (
        microbatch.wrap(
            model,
            schedule="pingpong",
            driver=driver,
            num_ubatches=2,
            yield_at_collectives=by_option,
            verify="never",
        ) as wrapped,
        block,
    ):
        assert torch.equal(wrapped(x), expected)
    return order


@pytest.mark.parametrize("driver", DRIVERS)
def test_models_give_the_plain_result(two: GlooRanks, driver: str) -> None:
    """Ranks with equal rows and with others, dummies too: yields are passed in one order on all of them."""
    assert two.run(wrong_with_yields, driver) == [[], []]


def wrong_with_yields(rank: int, driver: str) -> list[str]:
    told = []
    for name, make in FUNCTIONS.items():
        function = make(rank, 2)
        with microbatch.wrap(
            function,
            schedule="pingpong",
            driver=driver,
            num_ubatches=3,
            yield_at_collectives=True,
            verify="never",
        ) as wrapped:
            for rows in ((60, 60), (7, 7)) if "reduce" in name else ((60, 7), (2, 40), (0, 5)):
                x = batch(name, rows[rank], 5)
                expected = torch.as_tensor(function(x))
                if not torch.allclose(torch.as_tensor(wrapped(x)), expected, atol=1e-5):
                    told.append(f"{name} {rows}")
    return told


def test_an_error_in_one_ubatch_reaches_its_caller(two: GlooRanks) -> None:
    """The sibling is unwound where it passed the turn, its collective on its way."""
    assert two.run(failing_ubatch) == ["ValueError: second", "ValueError: second"]


def failing_ubatch(rank: int) -> str:
    def model(x: Any) -> Any:
        if dbo.dbo_current_ubatch_id() == 1:
            raise ValueError("second")
        torch.distributed.all_reduce(x * 2)
        return x

    with microbatch.wrap(
        model, schedule="pingpong", num_ubatches=2, yield_at_collectives=True, verify="never"
    ) as wrapped:
        try:
            wrapped(torch.ones(4, 3))
        except ValueError as error:
            return f"{type(error).__name__}: {error}"
    return "nothing was raised"
