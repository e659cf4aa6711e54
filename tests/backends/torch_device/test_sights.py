"""What a recorded ubatch calls of torch is seen: collectives, and waits for a whole device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the collectives are torch's")
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="this build of torch has no gloo",
)

import microbatch
from microbatch import dbo
from tests.support.gloo import GlooRanks


@pytest.fixture(scope="module")
def two() -> Iterator[GlooRanks]:
    with GlooRanks(2) as ranks:
        yield ranks


def test_each_way_of_waiting_is_told_apart(two: GlooRanks) -> None:
    """At once; later without a yield; later with one; where yields are put at collectives."""
    expected = {
        ("at once", False): {("thread", "blocking"): 4},
        ("later", False): {("thread", ""): 2, ("collective", "no yield"): 2},
        ("yielding", False): {("thread", ""): 2, ("collective", ""): 2},
        ("at once", True): {("thread", ""): 2, ("collective", ""): 2},
    }
    for (how, at_collectives), seen in expected.items():
        assert two.run(communication, how, at_collectives) == [seen, seen], how


def communication(rank: int, how: str, at_collectives: bool) -> dict[tuple[str, str], int]:
    """(kind of lane, note) of each bar of communication."""

    def model(x: Any) -> Any:
        y = x * 2
        if how == "at once":
            torch.distributed.all_reduce(y)
        else:
            work = torch.distributed.all_reduce(y, async_op=True)
            if how == "yielding":
                dbo.dbo_yield("reduce")
            work.wait()
        return y + 1

    wrapped = microbatch.wrap(
        model, schedule="pingpong", num_ubatches=2, yield_at_collectives=at_collectives, verify="never"
    )
    with wrapped, microbatch.record() as seen:
        y = wrapped(torch.ones(4, 3))
    assert torch.equal(y, torch.full((4, 3), 5.0))
    bars = [bar for bar in seen.bars if bar.phase == "communicate"]
    assert {bar.label for bar in bars} == {"allreduce"}
    return dict(Counter((bar.kind, bar.note) for bar in bars))
