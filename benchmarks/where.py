"""Where the time of a step goes: `python -m benchmarks where black-scholes [--first]`.

Settled steps, or the first one of each of several new wrappers, are split into the function, waiting, faults
of fresh pages, the gather and what is left, which is ours. Faults are counted by the system; their seconds
are those that the thread spent in the kernel meanwhile. Threads that a framework starts for itself are not
seen.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import microbatch
from benchmarks import workloads
from benchmarks.where_recording import Recording
from benchmarks.where_split import Split, Step, split

Made = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its inputs."""
SETTLE, STEPS = 12, 15
"""Calls before, and calls that are split."""


def _black_scholes() -> Made:
    return workloads.black_scholes, workloads.options(8_000_000)


def _chain() -> Made:
    import torch

    return workloads.torch_chain, (torch.randn(16384, 1024),)


def _compiled() -> Made:
    import torch

    return torch.compile(workloads.torch_chain), _chain()[1]


def _expansion() -> Made:
    from benchmarks.expansion import inputs

    return workloads.expand, (inputs(),)


def _images() -> Made:
    images = np.random.default_rng(2).integers(0, 256, (256, 224, 224, 3), np.uint8)
    return workloads.normalise, (images,)


def _nearest() -> Made:
    import torch

    from benchmarks.knn import POINTS, QUERIES, WIDTH

    return workloads.nearest(torch.randn(POINTS, WIDTH)), (torch.randn(QUERIES, WIDTH),)


def _numpy_mlp() -> Made:
    return workloads.numpy_mlp(), (np.random.default_rng(3).standard_normal((2048, 512)).astype(np.float32),)


def _torch_mlp() -> Made:
    import torch

    return workloads.torch_mlp(), (torch.randn(2048, 512),)


def _gradients() -> Made:
    from benchmarks.per_sample import gradient_norms

    norms, x, y = gradient_norms()
    return norms, (x, y)


def _kernels() -> Made:
    from benchmarks.per_sample import kernel_sums

    sums, x = kernel_sums()
    return sums, (x,)


def _model(name: str) -> Callable[[], Made]:
    def made() -> Made:
        from benchmarks.models import MODELS

        model = MODELS[name].make()
        return (lambda x: model(x)), (MODELS[name].batch(),)

    return made


WORKS: Mapping[str, Callable[[], Made]] = {
    "black-scholes": _black_scholes,
    "chain": _chain,
    "compiled": _compiled,
    "expansion": _expansion,
    "images": _images,
    "nearest": _nearest,
    "numpy-mlp": _numpy_mlp,
    "torch-mlp": _torch_mlp,
    "gradients": _gradients,
    "kernels": _kernels,
    "bert": _model("BERT"),
    "vit": _model("ViT"),
    "convnext": _model("ConvNeXt"),
    "gpt2": _model("GPT-2 logits"),
    "cnn": _model("small CNN"),
}


def settled(made: Made, steps: int) -> tuple[Split, microbatch.StepReport]:
    """The split of `steps` steps of a wrapper that has settled, and what the last one did."""
    function, inputs = made
    recording = Recording()
    with microbatch.wrap(recording.function(function), runtime=recording.runtime) as wrapped:
        for _ in range(SETTLE):
            wrapped(*inputs)
        with recording.gathering():
            recording.clear()
            found = [timed(wrapped, inputs) for _ in range(steps)]
            intervals = recording.intervals()
        assert wrapped.last_report is not None
        return split(found, intervals), wrapped.last_report


def first(made: Made, steps: int) -> tuple[Split, microbatch.StepReport]:
    """The split of the first steps of so many wrappers, in a process that has run one before.

    The calls that show whether the function may be cut are of the function.
    """
    function, inputs = made
    recording, found = Recording(), []
    microbatch.wrap(function)(*inputs)
    with recording.gathering():
        for _ in range(steps):
            with microbatch.wrap(recording.function(function), runtime=recording.runtime) as wrapped:
                found.append(timed(wrapped, inputs))
                report = wrapped.last_report
    assert report is not None
    return split(found, recording.intervals()), report


def timed(wrapped: Any, inputs: tuple[Any, ...]) -> Step:
    """One step."""
    started = monotonic()
    wrapped(*inputs)
    return Step(thread=threading.get_ident(), started=started, ended=monotonic())


def shown(name: str, steps: int, found: Split, report: microbatch.StepReport) -> Table:
    """Milliseconds a step, and shares of what all threads had."""
    title = f"{name}: {report.num_ubatches} parts, {report.schedule}, {report.workers} workers"
    table = Table("where", "ms a step, all threads", "share", title=title, title_justify="left")
    shares = {
        "function": found.function,
        "waiting": found.waiting,
        f"faults of fresh pages ({found.minor_faults / steps:,.0f} a step)": found.faults,
        "gather": found.gather,
        "ours": found.ours,
    }
    for label, seconds in shares.items():
        table.add_row(label, f"{seconds / steps * 1e3:.2f}", f"{seconds / found.total:.1%}")
    table.add_section()
    table.add_row("all", f"{found.total / steps * 1e3:.2f}", "100 %")
    off = found.off_core
    table.add_row(
        "of function and gather: not on a core", f"{off / steps * 1e3:.2f}", f"{off / found.total:.1%}"
    )
    return table


def main(arguments: list[str]) -> int:
    """Print the split of one work."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks where")
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--first", action="store_true", help="the first step of new wrappers")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps that are split")
    options = parser.parse_args(arguments)
    found, report = (first if options.first else settled)(WORKS[options.work](), options.steps)
    Console(width=100).print(shown(options.work, options.steps, found, report))
    Console(width=100).print(f"why: {report.reason}")
    return 0
