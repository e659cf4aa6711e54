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
from microbatch.testing import torch_device
from tests.support.gloo import GlooRanks


@pytest.fixture(scope="module")
def two() -> Iterator[GlooRanks]:
    with GlooRanks(2) as ranks:
        yield ranks


Ways = tuple[str, bool, str]
"""How a model waits, whether yields are put at its collectives, and the schedule."""

SEEN: dict[Ways, tuple[dict[tuple[str, str], int], str]] = {
    ("at once", False, "pingpong"): (
        {("thread", "start"): 2, ("thread", "blocking"): 2},
        "blocking collectives",
    ),
    ("later", False, "pingpong"): ({("thread", "start"): 2, ("collective", "no yield"): 2}, "missing yield"),
    ("yielding", False, "pingpong"): ({("thread", "start"): 2, ("collective", ""): 2}, ""),
    ("at once", True, "pingpong"): ({("thread", "start"): 2, ("collective", ""): 2}, ""),
    ("at once", False, "sequential"): ({("thread", "start"): 2, ("thread", "blocking"): 2}, "no turns"),
}
"""What is seen of each, as (kind of lane, note), and the cause that the doctor names."""
ABOUT_WAITING = {"blocking collectives", "missing yield", "no turns", "device-wide waits"}


@pytest.mark.parametrize("ways", SEEN)
def test_each_way_of_waiting_is_told_apart(two: GlooRanks, ways: Ways) -> None:
    """At once; later without a yield; later with one; where yields are put at collectives; not in turns."""
    bars, cause = SEEN[ways]
    expected = bars, [cause] if cause else []
    assert two.run(communication, *ways) == [expected, expected]


def communication(
    rank: int, how: str, at_collectives: bool, schedule: Any
) -> tuple[dict[tuple[str, str], int], list[str]]:
    """(kind of lane, note) of each bar of communication, and what the doctor says of waiting."""

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
        model,
        schedule=schedule,
        policy="fixed",
        num_ubatches=2,
        yield_at_collectives=at_collectives,
        verify="never",
    )
    with wrapped, microbatch.record() as seen:
        y = wrapped(torch.ones(4, 3))
    assert torch.equal(y, torch.full((4, 3), 5.0))
    bars = [bar for bar in seen.bars if bar.phase == "communicate"]
    assert {bar.label for bar in bars} == {"allreduce"}
    causes = [cause for cause in seen.doctor().causes if cause in ABOUT_WAITING]
    return dict(Counter((bar.kind, bar.note) for bar in bars)), causes


@pytest.mark.parametrize("waits", [True, False])
def test_a_wait_for_the_whole_device(waits: bool) -> None:
    """`torch.cuda.synchronize` inside of a ubatch is seen, and named."""
    with torch_device():

        def model(x: Any) -> Any:
            y = x * 2
            if waits:
                torch.cuda.synchronize()
            return y

        wrapped = microbatch.wrap(model, schedule="pingpong", policy="fixed", num_ubatches=2, verify="never")
        with wrapped, microbatch.record() as seen:
            wrapped(torch.ones(4, 3, device="cuda"))
        found = seen.doctor()
    assert ("device-wide waits" in found.causes) is waits
    assert ("2 x torch.cuda.synchronize" in str(found)) is waits
