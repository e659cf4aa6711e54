"""Test doubles, strategies and conformance suites for whoever builds on microbatch.

Invariant: importing this package imports neither pytest nor hypothesis; each name loads its module when first
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbatch.testing.adversarial.device import AdversarialBackend
    from microbatch.testing.adversarial.order import SeededOrder, WorkOrder
    from microbatch.testing.backends import BackendSuite
    from microbatch.testing.cupy import CupyDevice, cupy_device
    from microbatch.testing.policies import PolicySuite
    from microbatch.testing.properties import PropertySuite, prop
    from microbatch.testing.recording.checker import Race, check
    from microbatch.testing.recording.device import RecordingBackend
    from microbatch.testing.recording.runtime import RecordingRuntime
    from microbatch.testing.recording.trace import Trace
    from microbatch.testing.sequencer import Sequencer
    from microbatch.testing.simulated.memory import DeviceOutOfMemoryError, MemoryModel
    from microbatch.testing.torch import TorchDevice, torch_device

_WHERE = {
    "AdversarialBackend": "adversarial.device",
    "BackendSuite": "backends",
    "CupyDevice": "cupy",
    "DeviceOutOfMemoryError": "simulated.memory",
    "MemoryModel": "simulated.memory",
    "PolicySuite": "policies",
    "PropertySuite": "properties",
    "Race": "recording.checker",
    "RecordingBackend": "recording.device",
    "RecordingRuntime": "recording.runtime",
    "SeededOrder": "adversarial.order",
    "Sequencer": "sequencer",
    "TorchDevice": "torch",
    "Trace": "recording.trace",
    "WorkOrder": "adversarial.order",
    "check": "recording.checker",
    "cupy_device": "cupy",
    "prop": "properties",
    "torch_device": "torch",
}

__all__ = [
    "AdversarialBackend",
    "BackendSuite",
    "CupyDevice",
    "DeviceOutOfMemoryError",
    "MemoryModel",
    "PolicySuite",
    "PropertySuite",
    "Race",
    "RecordingBackend",
    "RecordingRuntime",
    "SeededOrder",
    "Sequencer",
    "TorchDevice",
    "Trace",
    "WorkOrder",
    "check",
    "cupy_device",
    "prop",
    "torch_device",
]


def __getattr__(name: str) -> Any:
    """Load the module of a public name."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
