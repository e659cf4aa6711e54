"""Steps on the simulated torch device that a caller can spoil: what is wrong with one under a drawn order.

Invariant: the caller launches on two streams of its own in turn, makes the inputs late, drops them at once,
and writes poison where they were; so any wait, record, synchronize or lifetime that a step lacks can show
in a value.
Of sound code nothing is ever wrong.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import torch

import microbatch
from microbatch.testing import torch_device
from tests.support.stream_models import MODELS, on_host

ROWS, TURNS = 6, 4
STEPS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "sequential": {"schedule": "sequential"},
        "parallel": {"schedule": "parallel"},
        "threads": {"schedule": "pingpong", "driver": "threads"},
        "greenlets": {"schedule": "pingpong", "driver": "greenlets"},
        "streamed": {"schedule": "streamed"},
        "from host": {"schedule": "streamed", "num_ubatches": 6},
        "from pinned": {"schedule": "streamed", "num_ubatches": 6},
        "graph": {"schedule": "sequential", "graphs": True, "num_ubatches": 2},
        "graph beside others": {"schedule": "sequential", "graphs": True, "num_ubatches": 2},
        "graph of a step": {"schedule": "pingpong", "driver": "greenlets", "graphs": True, "num_ubatches": 2},
    }
)
"""Name -> options of a wrapper; `from` says where the inputs are, on the device else. Beside `others`, a
thread launches on the caller's stream whenever the function is called."""


@cache
def _known(name: str) -> Any:
    return on_host(name, ROWS)


def wrong(model: str, step: str, seed: int, *, recorded: bool = False) -> str:
    """What is wrong with a few steps under the order `seed`, or an empty text."""
    whole, batch, expected = _known(model)
    with torch_device(seed, recorded=recorded) as device, torch.inference_mode():
        module = copy.deepcopy(whole).cuda()
        module = Beside(module) if step.endswith("others") else module
        options = {
            "num_ubatches": 3,
            "backend": "torch-cuda",
            "policy": "fixed",
            "verify": "never",
            "barrier_timeout": 10.0,
        }
        with microbatch.wrap(module, **options | dict(STEPS[step])) as wrapped:
            try:
                results = _turns(wrapped, batch, step.partition("from ")[2])
            except Exception as error:  # noqa: BLE001 - what a spoilt step raises is part of the answer
                return f"{type(error).__name__}: {error}"
            report = wrapped.last_report
            if STEPS[step].get("graphs") and not report.graph_hits:
                return f"nothing was replayed: {report.reason}"
        for turn, result in enumerate(results):
            if not torch.allclose(result.cpu(), expected, rtol=1e-4, atol=1e-5):
                return f"turn {turn} of {model} gives other numbers"
        if isinstance(module, Beside) and module.count.item() != module.calls:
            return f"other threads launched {module.calls} times, and {module.count.item():.0f} have run"
        return str(next(iter(device.races()), ""))


class Beside(torch.nn.Module):
    """A model during whose calls another thread adds one to a counter, on a stream of the caller's."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls = 0
        self.count = torch.zeros((), device="cuda")
        self.callers = torch.cuda.Stream()
        self.callers.wait_stream(torch.cuda.current_stream())

    def forward(self, **given: Any) -> Any:
        """What the model gives."""
        thread = threading.Thread(target=self._launch)
        thread.start()
        thread.join()
        self.calls += 1
        return self.model(**given)

    def _launch(self) -> None:
        with torch.inference_mode(), torch.cuda.stream(self.callers):
            self.count += 1


def _turns(wrapped: Any, batch: Mapping[str, torch.Tensor], source: str) -> list[torch.Tensor]:
    """The results of some steps, each read only after the last one was launched."""
    results, streams = [], (torch.cuda.Stream(), torch.cuda.Stream())
    if isinstance(wrapped, Beside):
        streams = (wrapped.callers, wrapped.callers)
    for turn in range(TURNS):
        with torch.cuda.stream(streams[turn % 2]):
            given = {key: _late(value, source) for key, value in batch.items()}
            sizes = [(value.shape, value.dtype) for value in given.values()]
            result = wrapped(**given)
            del given
            poison = [torch.full(shape, 0, dtype=dtype, device="cuda") for shape, dtype in sizes]
            kept = result + 0
            size = result.shape, result.dtype
            del result
            poison.append(torch.full(size[0], float("nan"), dtype=size[1], device=kept.device))
            results.append(kept)
    for stream in streams:
        stream.synchronize()
    return results


def _late(value: torch.Tensor, source: str) -> torch.Tensor:
    """The values as the caller has them: in memory that had others, or on the device behind other work."""
    if source == "host":
        return value.clone()
    if source == "pinned":
        return value.pin_memory()
    made = torch.zeros_like(value, device="cuda")
    made.copy_(value.pin_memory(), non_blocking=True)
    return made


def models() -> list[str]:
    """Names of the models that can be made here."""
    import importlib.util

    return list(MODELS) if importlib.util.find_spec("transformers") else ["layers", "experts", "prefetching"]
