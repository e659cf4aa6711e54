"""Models that know nothing of overlap, on two ranks with a slow link: plainly, and as a dual batch.

Invariant: the models have no yield point and no import of ours; only the wrapper is told to pass the turn at
collectives. Rows take time in proportion to their number: to compute, where the host sleeps as it does while
a device works (real numbers are computed beside it, small ones), and on the link, which takes 0.8 of that. So
all communication but that of the last part could be hidden. Variants take turns on both ranks.

Rejected: large products on the CPU in place of the sleep. Two ranks and their links on two cores that others
use too showed anything from -36 % to 77 % hidden.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import microbatch
from benchmarks.table import Row

ROUNDS = 5
LAYERS = 8
ROWS, WIDTH, INNER = 64, 32, 64
SECONDS = 0.06
"""What a layer computes for all rows."""
SHARE = 0.8
"""Communication of the plain model, as a part of its compute."""
AIM = 0.8
"""Part of the communication that is to be hidden."""


def table() -> list[Row]:
    """One row a model and driver."""
    import torch.multiprocessing as processes

    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.pt"
        processes.spawn(rank_main, args=(str(Path(folder) / "meeting"), str(answer)), nprocs=2)
        import torch

        figures: list[dict[str, Any]] = torch.load(answer)
    return [row_of(**figure) for figure in figures]


def row_of(model: str, driver: str, hidden: float, difference: float, seconds: dict[str, float]) -> Row:
    """How much of the communication the dual batch hid."""
    return Row(
        work=f"{model}, no edits, {driver}", against="the plain model", aim=f">= {AIM:.0%} hidden",
        measured=f"{hidden:.0%} hidden, {seconds['plain'] / seconds['dual']:.2f}x",
        reached=hidden >= AIM and difference <= 1e-5,
        details={"difference": difference, **{name: round(value, 4) for name, value in seconds.items()}},
    )  # fmt: skip


def rank_main(rank: int, meeting: str, answer: str) -> None:
    """All comparisons on one rank; rank 0 writes the figures."""
    import torch
    import torch.distributed as dist

    from benchmarks import slow_link

    torch.set_num_threads(1)
    slow_link.register()
    dist.init_process_group("slow", init_method=f"file://{meeting}", rank=rank, world_size=2)
    figures = []
    with torch.inference_mode():
        for made in (tensor_parallel, mixture_of_experts):
            for driver in ("threads", "greenlets") if find_spec("greenlet") else ("threads",):
                figures.append(compare(made(rank), made.__name__.replace("_", " "), driver))
    if rank == 0:
        torch.save(figures, answer)
    dist.barrier()


def tensor_parallel(rank: int) -> Callable[[Any], Any]:
    """Layers whose columns and rows are shared out, with an all-reduce each."""
    import torch
    import torch.distributed as dist

    generator = torch.Generator().manual_seed(rank)
    first = [torch.randn(WIDTH, INNER, generator=generator) / 16 for _ in range(LAYERS)]
    second = [torch.randn(INNER, WIDTH, generator=generator) / 64 for _ in range(LAYERS)]

    def model(x: Any) -> Any:
        for inner, outer in zip(first, second, strict=True):
            y = torch.relu(x @ inner) @ outer
            on_a_device(x)
            dist.all_reduce(y)
            x = x + y
        return x

    return model


def mixture_of_experts(rank: int) -> Callable[[Any], Any]:
    """Layers in which half of the columns of each row travel to the other rank's expert, and back."""
    import torch
    import torch.distributed as dist

    generator = torch.Generator().manual_seed(rank)
    half = WIDTH // 2
    first = [torch.randn(half, INNER, generator=generator) / 16 for _ in range(LAYERS)]
    second = [torch.randn(INNER, half, generator=generator) / 64 for _ in range(LAYERS)]

    def travelled(x: Any) -> Any:
        arrived = torch.empty_like(x)
        dist.all_to_all_single(arrived, x)
        return arrived

    def model(x: Any) -> Any:
        for inner, outer in zip(first, second, strict=True):
            on_a_device(x, 0.5)  # attention
            halves = x.reshape(-1, 2, half).transpose(0, 1).contiguous()
            arrived = travelled(halves)
            done = torch.relu(arrived @ inner) @ outer
            on_a_device(x, 0.5)
            x = x + travelled(done).transpose(0, 1).reshape(x.shape)
        return x

    return model


def on_a_device(x: Any, share: float = 1.0) -> None:
    """As long as a device computes a layer, or a part of one, for these rows, the host waits."""
    time.sleep(share * SECONDS * len(x) / ROWS)


def compare(model: Callable[[Any], Any], name: str, driver: str) -> dict[str, Any]:
    """One model under one driver."""
    import torch

    from benchmarks.slow_link import SlowGroup

    x = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))
    dual = microbatch.wrap(
        model, schedule="pingpong", driver=driver, num_ubatches=2, yield_at_collectives=True, verify="never"
    )
    times: dict[str, list[float]] = {"plain": [], "dual": []}
    communication = SHARE * SECONDS * LAYERS
    SlowGroup.seconds_per_byte = 0.0
    SlowGroup.pace(communication, partial(model, x))
    for _ in range(ROUNDS):
        times["plain"].append(timed(partial(model, x)))
        times["dual"].append(timed(partial(dual, x)))
    middle = {kind: statistics.median(values) for kind, values in times.items()}
    difference = float((dual(x) - model(x)).abs().max())
    dual.shutdown()
    hidden = (middle["plain"] - middle["dual"]) / communication
    seconds = middle | {"compute": SECONDS * LAYERS, "communication": communication}
    return {"model": name, "driver": driver, "hidden": hidden, "difference": difference, "seconds": seconds}


def timed(call: Callable[[], Any]) -> float:
    """Seconds of one call that both ranks begin together."""
    import torch.distributed as dist

    dist.barrier()
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
