"""Decode steps of an LLM as graphs on a CUDA device: one for all numbers of real requests, and its buffers.

What the simulated devices show in `tests/core/step/test_captured_decode.py`, on real streams and captures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("cuda")]

WIDTH = 64
PADDED = 256
"""Requests that are captured."""
LAYOUT = microbatch.Layout(
    inputs={
        "x": microbatch.tokens(),
        "starts": microbatch.query_start_loc(),
        "lens": microbatch.seq_lens(),
    },
    outputs={"hidden": microbatch.tokens(), "left": microbatch.requests()},
)


def decode(x: Any, starts: Any, lens: Any) -> Any:
    """Compute, communicate, compute; looks at offsets and lengths."""
    h = torch.sin(x) * 2
    dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
    h = h + 1
    dbo.dbo_yield_and_switch_from_comm_to_compute("combine")
    return {"hidden": h * 3, "left": lens - (starts[1:] - starts[:-1])}


def arrays(requests: int, length: int, seed: int) -> dict[str, Any]:
    """A step in arrays for `PADDED` requests, made on the current stream."""
    generator = torch.Generator("cuda").manual_seed(seed)
    lens = torch.randint(length, 999, (PADDED,), generator=generator, device="cuda")
    lens[requests:] = 0
    starts = torch.arange(PADDED + 1, device="cuda").clamp(max=requests) * length
    x = torch.randn(PADDED * length, WIDTH, generator=generator, device="cuda")
    return {"x": x, "starts": starts, "lens": lens}


def step_of(requests: int, length: int, count: int) -> microbatch.Cut:
    shape = microbatch.BatchShape(
        num_tokens=requests * length, num_requests=requests,
        query_start_loc=np.arange(requests + 1) * length,
        num_tokens_padded=PADDED * length, num_reqs_padded=PADDED,
    )  # fmt: skip
    return microbatch.cut(shape, splitter="floor", num_ubatches=count, multiple_of=length)


def wrapped(function: Any = decode, **options: Any) -> Any:
    options = {"schedule": "pingpong", "driver": "greenlets", "graphs": True, **options}
    return microbatch.wrap(function, backend="torch-cuda", layout=LAYOUT, **options)


def check(result: dict[str, Any], given: dict[str, Any], requests: int, length: int) -> None:
    x, lens = given["x"][: requests * length], given["lens"][:requests]
    torch.testing.assert_close(result["hidden"], (torch.sin(x) * 2 + 1) * 3)
    assert torch.equal(result["left"], lens - length)


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("count", [2, 3])
def test_one_graph_serves_all_numbers_of_real_requests(length: int, count: int) -> None:
    pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    captures, numbers = 0, [256, 200, 231]
    with wrapped() as wrapper:
        for seed, requests in enumerate([*numbers, *numbers]):
            given = arrays(requests, length, seed)
            check(wrapper(**given, ubatch_slices=step_of(requests, length, count)), given, requests, length)
            report = wrapper.last_report
            captures += report.graph_captures
            if seed >= len(numbers):
                assert report.graph_hits == count, report.reason
    assert captures == 1


@pytest.mark.parametrize("length", [1, 3])
def test_decode_steps_without_padding_are_replayed(length: int) -> None:
    """Cut evenly, so that a request may be in two ubatches; only its last one has its offset in full."""
    pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    with wrapped(num_ubatches=2) as wrapper:
        for seed in range(3):
            given = arrays(PADDED, length, seed)
            check(wrapper(**given), given, PADDED, length)
        assert wrapper.last_report.graph_hits == 2, wrapper.last_report.reason


def test_each_ubatch_keeps_its_buffers_and_each_replay_fills_them() -> None:
    pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    given_to: list[tuple[Any, Any]] = []

    def keeping(x: Any, starts: Any, lens: Any) -> Any:
        given_to.append((starts, lens))
        return decode(x, starts, lens)

    with wrapped(keeping) as wrapper:
        for seed, requests in enumerate((256, 256, 200, 200)):
            given, step = arrays(requests, 1, seed), step_of(requests, 1, 2)
            check(wrapper(**given, ubatch_slices=step), given, requests, 1)
            if seed == 0:
                captured = given_to[-2:]
            if not wrapper.last_report.graph_hits:
                continue
            for part, (starts, lens) in zip(step.slices, captured, strict=True):
                first, last = part.req_slice.start, part.req_slice.stop
                tokens = part.token_slice
                offsets = given["starts"][first : last + 1].clamp(tokens.start, tokens.stop) - tokens.start
                assert torch.equal(starts, offsets)
                assert torch.equal(lens, given["lens"][first:last])
