"""Steps on the simulated CuPy device that a caller can spoil: what is wrong with one under a drawn order.

Invariant: as in `stream_steps`, the caller launches on two streams of its own in turn, makes the inputs late,
drops them at once, and writes poison where they were; also into pinned buffers that were dropped. Of sound
code nothing is ever wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

import microbatch
from microbatch import dbo
from microbatch.testing import cupy_device

ROWS, WIDTH, TURNS = 6, 8, 4
WEIGHT = np.linspace(-1, 1, WIDTH * WIDTH, dtype="f4").reshape(WIDTH, WIDTH)


def layers(xp: Any, x: Any) -> Any:
    """Elementwise work that communicates between its layers."""
    for factor in (2.0, 0.5, 1.5):
        h = xp.tanh(x * factor)
        dbo.dbo_yield_and_switch_from_compute_to_comm("reduce")
        gathered = h.copy()
        del h
        dbo.dbo_yield_and_switch_from_comm_to_compute("reduced")
        x = x + gathered
    dbo.dbo_switch_to_comm_sync()
    sent = x * 1
    del x
    dbo.dbo_switch_to_compute_sync()
    return sent + 0


def products(xp: Any, x: Any) -> Any:
    """Products and a softmax, with communication between them."""
    weight = xp.asarray(WEIGHT)
    h = x @ weight
    dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
    arrived = h.copy()
    del h
    dbo.dbo_yield_and_switch_from_comm_to_compute("combine")
    gate = xp.exp(arrived - arrived.max(1)[:, None])
    return x + gate / gate.sum(1)[:, None]


MODELS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType({"layers": layers, "products": products})
"""Name -> function of `cupy`, or of `numpy`, and rows; products are not captured."""

STEPS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "cupy: sequential": {"schedule": "sequential"},
        "cupy: parallel": {"schedule": "parallel"},
        "cupy: threads": {"schedule": "pingpong", "driver": "threads"},
        "cupy: greenlets": {"schedule": "pingpong", "driver": "greenlets"},
        "cupy: streamed": {"schedule": "streamed"},
        "cupy: from host": {"schedule": "streamed", "num_ubatches": 6},
        "cupy: graph": {"schedule": "sequential", "graphs": True, "num_ubatches": 2},
        "cupy: graph of a step": {
            "schedule": "pingpong", "driver": "greenlets", "graphs": True, "num_ubatches": 2
        },
        "cupy: own pool": {"schedule": "pingpong", "driver": "threads"},
        "cupy: transfers": {},
    }
)  # fmt: skip
"""Name -> options of a wrapper. With a pool of its own the caller allocates from another one than the
default; `transfers` is no step, but copies of the backend, one by one."""


def wrong(model: str, step: str, seed: int, *, recorded: bool = False) -> str:
    """What is wrong with a few steps under the order `seed`, or an empty text."""
    with cupy_device(seed, recorded=recorded) as device:
        try:
            found = (
                _transfers(device.cupy) if step.endswith("transfers") else _steps(device.cupy, model, step)
            )
        except Exception as error:  # noqa: BLE001 - what a spoilt step raises is part of the answer
            return f"{type(error).__name__}: {error}"
        return found or str(next(iter(device.races()), ""))


def _steps(cupy: Any, model: str, step: str) -> str:
    options = {
        "num_ubatches": 3, "backend": "cupy", "policy": "fixed", "verify": "never", "barrier_timeout": 10.0,
        **STEPS[step],
    }  # fmt: skip
    function = layers if options.get("graphs") else MODELS[model]
    values = np.random.default_rng(0).random((ROWS, WIDTH), dtype="f4")
    expected = function(np, values)
    pool = cupy.cuda.MemoryPool() if step.endswith("pool") else cupy.get_default_memory_pool()
    own = pool is not cupy.get_default_memory_pool()
    called = partial(function, cupy)
    with cupy.cuda.using_allocator(pool.malloc), microbatch.wrap(called, **options) as wrapped:
        results = _turns(cupy, wrapped, values, host=step.endswith("host"))
        report = wrapped.last_report
        if options.get("graphs") and not report.graph_hits:
            return f"nothing was replayed: {report.reason}"
        if own and cupy.get_default_memory_pool().total_bytes():
            return "a worker took memory from another pool than the caller's"
        pool.free_all_blocks()  # what the pool kept unused is then what others get
        poison = [cupy.full(size, cupy.nan, "f4") for size in range(16, 161, 16) for _ in range(4)]
        results += _turns(cupy, wrapped, values, host=step.endswith("host"))
        if any(not np.isnan(one.get()).all() for one in poison):
            return "a step wrote into memory of others"
    for turn, result in enumerate(results):
        if not np.allclose(result, expected, rtol=1e-4, atol=1e-5):
            return f"turn {turn} of {model} gives other numbers"
    return ""


def _turns(cupy: Any, wrapped: Any, values: np.ndarray, *, host: bool) -> list[Any]:
    """The results of some steps, each read only after the last one was launched."""
    kept, streams = [], (cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True))
    for turn in range(TURNS):
        with streams[turn % 2]:
            given = values.copy() if host else _late(cupy, values)
            result = wrapped(given)
            if host:
                given[...] = np.nan
                kept.append(result)
                continue
            del given
            poison = [cupy.full(values.shape, 0, "f4")]
            kept.append(result + 0)
            del result
            poison.append(cupy.full(values.shape, cupy.nan, "f4"))
    for stream in streams:
        stream.synchronize()
    results = []
    for turn, one in enumerate(kept):
        with streams[turn % 2]:
            results.append(one if isinstance(one, np.ndarray) else one.get())
    return results


def _late(cupy: Any, values: np.ndarray) -> Any:
    """The values on the device, behind other work of the current stream."""
    made = cupy.full(values.shape, cupy.nan, values.dtype)
    made.set(values, stream=cupy.cuda.get_current_stream())
    return made


def _transfers(cupy: Any) -> str:
    """Copies there and back on a stream: pinned or not, contiguous or not; sources are dropped at once."""
    from microbatch_backends.cupy_device.backend import CupyBackend

    backend, values = CupyBackend(), np.arange(48, dtype="f4").reshape(6, 8)
    stream = backend.stream("copy_in")
    for pinned in (True, False):
        for strided in (True, False):
            with stream.activate():
                there = backend.empty_device((6, 8), values)
                there = there[:, ::2] if strided else there
                source = _host(backend, values, pinned)
                backend.to_device(there, source[:, ::2] if strided else source)
                if not pinned:
                    del source
                    _spoilt = np.full((6, 8), np.nan, "f4")
                back = _host(backend, np.zeros_like(values), pinned)
                target = back[:, ::2] if strided else back
                backend.to_host(target, there * 1)
                if pinned and not strided:
                    stream.synchronize()
                if not np.array_equal(target, values[:, ::2] if strided else values):
                    return f"copies give other numbers, pinned {pinned}, strided {strided}"
    return ""


def _host(backend: Any, values: np.ndarray, pinned: bool) -> np.ndarray:
    made: np.ndarray = backend.staging(values.shape, values) if pinned else np.empty_like(values)
    made[...] = values
    return made
