"""The devices that the parts of `python -m benchmarks gpu --all` run on: real ones, or simulated ones.

Invariant: a simulated device is taken only where it was asked for and there is no real one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from importlib import import_module
from typing import Any

from benchmarks.gpu_answers import State
from benchmarks.gpu_parts import Framework, Part
from benchmarks.gpu_scale import DRY, Scale

__all__ = ["CAPACITY", "Missing", "can_be_simulated", "card", "device_for", "needed"]

CAPACITY = 192 << 20
"""Bytes of a simulated device: room for a small model, and little, so that memory runs out soon."""


class Missing(Exception):
    """A part cannot run here; `state` says whether for want of a device or of a package."""

    def __init__(self, text: str, state: State = "skipped") -> None:
        super().__init__(text)
        self.state = state


def needed(name: str) -> Any:
    """The module `name`; Missing with a sentence where it is not installed, or cannot be imported."""
    try:
        return import_module(name)
    except ImportError as error:
        raise Missing(f"{name} cannot be imported: {error}") from error


def card(framework: Framework) -> str:
    """Name of the real device of `framework`; Missing where there is none."""
    module = needed(framework)
    if not module.cuda.is_available():
        raise Missing(f"no device: {framework} {module.__version__} finds none", "no device")
    if framework == "torch":
        return str(module.cuda.get_device_name(0))
    name = module.cuda.runtime.getDeviceProperties(0)["name"]
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


@contextmanager
def device_for(part: Part, simulated: bool) -> Iterator[Scale]:
    """The block in which `part` finds its device; gives the scale of its work."""
    if part.needs is None:
        yield Scale(simulated=simulated)
        return
    try:
        card(part.needs)
    except Missing as missing:
        if not simulated or not can_be_simulated(part.needs, missing):
            raise
    else:
        yield Scale()
        return
    with nullcontext() if part.is_tests else _simulated(part.needs):
        yield replace(DRY, device="cuda", simulated=True)


def can_be_simulated(framework: Framework, missing: Missing) -> bool:
    """CuPy's stand-in does without CuPy; that of torch runs torch's own code."""
    return framework == "cupy" or missing.state == "no device"


def _simulated(framework: Framework) -> AbstractContextManager[Any]:
    from microbatch.testing import cupy_device, torch_device

    made = cupy_device if framework == "cupy" else torch_device
    return made(1, capacity=CAPACITY, recorded=False)
