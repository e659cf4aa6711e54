"""Test doubles, strategies and conformance suites for whoever builds on microbatch.

Invariant: importing this package imports neither pytest nor hypothesis; each name loads its module when first
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbatch.testing.adversarial.device import AdversarialBackend as AdversarialBackend
    from microbatch.testing.adversarial.order import WorkOrder as WorkOrder
    from microbatch.testing.backends import BackendSuite as BackendSuite
    from microbatch.testing.policies import PolicySuite as PolicySuite
    from microbatch.testing.properties import PropertySuite as PropertySuite
    from microbatch.testing.properties import prop as prop
    from microbatch.testing.recording.checker import Race as Race
    from microbatch.testing.recording.checker import check as check
    from microbatch.testing.recording.device import RecordingBackend as RecordingBackend
    from microbatch.testing.recording.runtime import RecordingRuntime as RecordingRuntime
    from microbatch.testing.recording.trace import Trace as Trace
    from microbatch.testing.sequencer import Sequencer as Sequencer
    from microbatch.testing.simulated.memory import DeviceOutOfMemoryError as DeviceOutOfMemoryError
    from microbatch.testing.simulated.memory import MemoryModel as MemoryModel

_WHERE = {
    "AdversarialBackend": "adversarial.device",
    "BackendSuite": "backends",
    "DeviceOutOfMemoryError": "simulated.memory",
    "MemoryModel": "simulated.memory",
    "PolicySuite": "policies",
    "PropertySuite": "properties",
    "Race": "recording.checker",
    "RecordingBackend": "recording.device",
    "RecordingRuntime": "recording.runtime",
    "Sequencer": "sequencer",
    "Trace": "recording.trace",
    "WorkOrder": "adversarial.order",
    "check": "recording.checker",
    "prop": "properties",
}

__all__ = [
    "AdversarialBackend",
    "BackendSuite",
    "DeviceOutOfMemoryError",
    "MemoryModel",
    "PolicySuite",
    "PropertySuite",
    "Race",
    "RecordingBackend",
    "RecordingRuntime",
    "Sequencer",
    "Trace",
    "WorkOrder",
    "check",
    "prop",
]


def __getattr__(name: str) -> Any:
    """Load the module of a public name."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
