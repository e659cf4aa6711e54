"""Serial against dual batch: real traces of `examples/moe_dual_batch.py`, as `microbatch.record()` saw them.

Invariant: what is drawn is what was recorded on rank 0. The link between the ranks is slowed down on purpose,
so that the tokens of the whole run travel about as long as it computes; on one machine they would be there at
once.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

import microbatch
from benchmarks import slow_link
from benchmarks.pictures.style import COLOURS, INK, box, canvas, save

EXAMPLE = Path(__file__).parents[2] / "examples" / "moe_dual_batch.py"
LAYERS, ROWS = 2, 64
SCHEDULES = {"sequential": "serial", "pingpong": "dual batch"}
LINK_SECONDS = 0.08
"""What one call of the model sends takes so long."""
RUNS = 15
"""The fastest of so many is drawn, as other programs take their share of the cores."""

Span = tuple[str, int, float, float]
"""Compute or network, ubatch, start and end in ms."""


def dual_batch(folder: Path) -> Path:
    """Run both on two processes, and draw rank 0."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "spans.json"
        mp.spawn(_rank, args=(_free_port(), str(file)), nprocs=2)
        seen = json.loads(file.read_text())
    return draw(seen, folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _rank(rank: int, port: int, file: str) -> None:
    torch.set_num_threads(1)
    slow_link.register()
    dist.init_process_group(slow_link.NAME, init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        with torch.inference_mode():
            seen = {name: _record(schedule) for schedule, name in SCHEDULES.items()}
    finally:
        dist.destroy_process_group()
    if rank == 0:
        Path(file).write_text(json.dumps(seen))


def _record(schedule: str) -> list[Span]:
    moe = _example()
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(moe.Block(moe.Timeline()) for _ in range(LAYERS))).eval()
    x = torch.randn(ROWS, moe.TOKENS, moe.WIDTH)
    slow_link.SlowGroup.pace(LINK_SECONDS, lambda: model(x))
    step = microbatch.wrap(
        model, backend="torch-cpu", schedule=schedule, policy="fixed", num_ubatches=2, verify="never"
    )
    step(x)
    runs = [_spans_of_one(step, x) for _ in range(RUNS)]
    step.shutdown()
    return min(runs, key=lambda spans: spans[-1][3])


def _spans_of_one(step: Any, x: torch.Tensor) -> list[Span]:
    dist.barrier()
    with microbatch.record() as seen:
        step(x)
    return spans_of(seen)


def _example() -> Any:
    spec = importlib.util.spec_from_file_location("moe_dual_batch", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["moe_dual_batch"] = module
    spec.loader.exec_module(module)
    return module


def spans_of(seen: microbatch.Timeline) -> list[Span]:
    """Compute and communication of each ubatch, in ms from where the first of them begins, by their ends."""
    start = min(bar.start for bar in seen.bars if bar.ubatch is not None)
    spans: list[Span] = [
        (
            "compute" if bar.phase == "compute" else "network",
            bar.ubatch,
            (bar.start - start) * 1e3,
            (bar.end - start) * 1e3,
        )
        for bar in seen.bars
        if bar.ubatch is not None and bar.phase in ("compute", "communicate") and bar.seconds > 2e-4
    ]
    return sorted(spans, key=lambda span: span[3])


def draw(seen: dict[str, list[Span]], folder: Path) -> Path:
    """One pair of lanes for each schedule, on one scale."""
    last = max(end for spans in seen.values() for *_, end in spans)
    figure, all_axes = canvas(9.5, 3.8, [1] * len(seen))
    for axes, (name, spans) in zip(all_axes, seen.items(), strict=True):
        took = max(end for *_, end in spans)
        axes.set_title(f"{name}: {took:.0f} ms", loc="left", fontsize=11.5, color=INK)
        for kind, ubatch, start, end in spans:
            text = str(ubatch) if end - start > last / 25 else ""
            box(axes, (start, 0.0 if kind == "network" else 1.0), (end - start, 0.8), COLOURS[ubatch], text)
        axes.set_yticks([0.4, 1.4], ["network", "compute"])
        axes.set_xlim(0, last * 1.01)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(left=False)
    all_axes[-1].set_xlabel("ms; 0 and 1 are the two ubatches")
    return save(figure, "dual-batch", folder)
