"""A mixture-of-experts block on two processes, run serially and as a dual batch, with the timeline of both.

Each process holds half of the experts; tokens travel to their expert and back by all-to-all
(torch.distributed, gloo on localhost). As a dual batch the block is cut into two ubatches that take turns:
while the tokens of one are on their way, the other computes. The model knows nothing of it beyond the yield
points of `microbatch.dbo`, which do nothing when the block is called serially.

    python examples/moe_dual_batch.py [--rows 64] [--layers 4] [--driver threads|greenlets] [--timeline FILE]

The clock of the example and `microbatch.record()` say how much of the communication lay under compute.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

import microbatch
from microbatch import dbo

WORLD = 2
EXPERTS = 4
WIDTH, TOKENS = 256, 32


@dataclass
class Timeline:
    """Who computed and who communicated when."""

    spans: list[tuple[int, str, float, float]] = field(default_factory=list)
    """(ubatch, what, start, end), seconds of the process's clock."""

    def add(self, what: str, start: float, end: float | None = None) -> None:
        """Close a span that began at `start`, now where no end is given."""
        self.spans.append((dbo.dbo_current_ubatch_id(), what, start, end or time.perf_counter()))

    @contextmanager
    def span(self, what: str) -> Iterator[None]:
        """A block that is one span."""
        start = time.perf_counter()
        yield
        self.add(what, start)

    def hidden(self) -> float:
        """Share of the communication time that lies under the compute of another ubatch."""
        compute = [(ubatch, a, b) for ubatch, what, a, b in self.spans if what == "compute"]
        total = covered = 0.0
        for ubatch, what, start, end in self.spans:
            if what == "compute":
                continue
            total += end - start
            covered += sum(
                max(0.0, min(end, b) - max(start, a)) for other, a, b in compute if other != ubatch
            )
        return covered / total if total else 0.0

    def draw(self, columns: int = 100) -> str:
        """One line a ubatch and kind: `#` compute, `-` tokens on their way."""
        first, last = min(s[2] for s in self.spans), max(s[3] for s in self.spans)
        scale = columns / (last - first)
        lines = []
        for ubatch in sorted({span[0] for span in self.spans}):
            for kind, mark in (("compute", "#"), ("all-to-all", "-")):
                line = [" "] * (columns + 1)
                for _, _, start, end in (s for s in self.spans if s[0] == ubatch and s[1] == kind):
                    for column in range(int((start - first) * scale), int((end - first) * scale) + 1):
                        line[column] = mark
                lines.append(f"  ubatch {ubatch} {kind:10} |{''.join(line)}|")
        return "\n".join(lines)


class Travel:
    """Tokens on their way to other ranks."""

    def __init__(self, tokens: Tensor, sends: list[int], receives: list[int], timeline: Timeline) -> None:
        with timeline.span("compute"):
            self.received = tokens.new_empty(sum(receives), tokens.shape[1])
        self._timeline = timeline
        self._work = dist.all_to_all_single(self.received, tokens, receives, sends, async_op=True)
        self._start = time.perf_counter()
        # they may have arrived long before the turn is back and somebody waits for them
        self._ended: list[float] = []
        self._work.get_future().add_done_callback(lambda _: self._ended.append(time.perf_counter()))

    def arrive(self) -> Tensor:
        """Wait for what the other ranks sent."""
        self._work.wait()
        self._timeline.add("all-to-all", self._start, min([*self._ended, time.perf_counter()]))
        return self.received


class Block(nn.Module):
    """Self-attention, a router, and experts spread over the ranks."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.timeline = timeline
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.router = nn.Linear(WIDTH, EXPERTS)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
            for _ in range(EXPERTS)
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: [rows, tokens, width], the same shape out."""
        span = self.timeline.span
        with span("compute"):
            h = x + self.attention(x, x, x, need_weights=False)[0]
            flat = h.reshape(-1, WIDTH)
            gate, chosen = self.router(flat).softmax(-1).max(-1)
            order = chosen.argsort(stable=True)
            sends = torch.bincount(chosen * WORLD // EXPERTS, minlength=WORLD).tolist()
            mine, tokens = chosen[order], flat[order]
        labels, receives = self.announce(mine, sends)
        dispatch = Travel(tokens, sends, receives, self.timeline)
        dbo.dbo_yield("dispatch")
        arrived = dispatch.arrive()
        with span("compute"):
            done = self.compute_experts(arrived, labels)
        combine = Travel(done, receives, sends, self.timeline)
        dbo.dbo_yield("combine")
        back = combine.arrive()
        with span("compute"):
            mixed = torch.empty_like(flat)
            mixed[order] = back * gate[order, None]
            return h + mixed.reshape(h.shape)

    def announce(self, chosen: Tensor, sends: list[int]) -> tuple[Tensor, list[int]]:
        """Tell each rank how many tokens come, and for which expert each is."""
        span = self.timeline.span
        with span("compute"):
            counts, told = torch.empty(WORLD, dtype=torch.int64), torch.tensor(sends)
        self.exchange(counts, told)
        with span("compute"):
            receives = counts.tolist()
            labels = torch.empty(sum(receives), dtype=chosen.dtype)
        self.exchange(labels, chosen, receives, sends)
        return labels, receives

    def exchange(self, received: Tensor, sent: Tensor, *splits: list[int]) -> None:
        """A few numbers, for which nobody else gets the turn. Starting it is the host's work, so the span
        begins when it has been started."""
        work = dist.all_to_all_single(received, sent, *splits, async_op=True)
        with self.timeline.span("all-to-all"):
            work.wait()

    def compute_experts(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Each token through its expert."""
        done = torch.empty_like(tokens)
        for index in labels.unique().tolist():
            rows = labels == index
            done[rows] = self.experts[index](tokens[rows])
        return done


def step(model: nn.Module, x: Tensor) -> tuple[Tensor, float]:
    """One timed step; all ranks begin together."""
    dist.barrier()
    start = time.perf_counter()
    y = model(x)
    return y, time.perf_counter() - start


def rank_main(rank: int, port: int, options: argparse.Namespace) -> None:
    """Run serial and dual steps on this rank and compare them."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=WORLD)
    try:
        with torch.inference_mode():
            run(rank, options)
    finally:
        dist.destroy_process_group()


def run(rank: int, options: argparse.Namespace) -> None:
    """The comparison of one rank; rank 0 prints."""
    torch.manual_seed(0)
    timeline = Timeline()
    model = nn.Sequential(*(Block(timeline) for _ in range(options.layers))).eval()
    x = torch.randn(options.rows, TOKENS, WIDTH, generator=torch.Generator().manual_seed(rank))
    dual: Any = microbatch.wrap(
        model,
        backend="torch-cpu",
        schedule="pingpong",
        driver=options.driver,
        policy="fixed",
        num_ubatches=2,
        verify="never",  # its rows are independent, and with several ranks that cannot be tried
    )
    results = {}
    for name, function in (("serial", model), ("dual batch", dual)):
        step(function, x)
        timeline.spans.clear()
        with microbatch.record() as seen:
            y, seconds = step(function, x)
        results[name] = y
        if rank == 0:
            print(
                f"{name}: {seconds * 1e3:.1f} ms, {timeline.hidden():.0%} of the communication under compute"
            )
            print(timeline.draw())
            if seen.steps:
                print(f"  recorded: {seen.summary().hidden:.0%} of the communication under compute")
                if options.timeline:
                    seen.save(options.timeline)
    difference = (results["serial"] - results["dual batch"]).abs().max().item()
    assert difference <= 1e-5, difference
    if rank == 0:
        print(f"same numbers: largest difference {difference:.1e}")
    dual.shutdown()


def main(arguments: list[str]) -> int:
    """Start both ranks and wait for them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--driver", choices=["threads", "greenlets"], default="threads")
    parser.add_argument("--timeline", help="where rank 0 writes the dual batch: .json or .html")
    options = parser.parse_args(arguments)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(rank_main, args=(port, options), nprocs=WORLD)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
