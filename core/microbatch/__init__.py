"""microbatch: run one step as micro-batches, on any array framework.

Nothing lost, fits, fast. `import microbatch` loads neither torch nor cupy, and each public name is imported
when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbatch import dbo, errors, testing
    from microbatch.binding.rules import (
        Layout,
        collect,
        per_ubatch,
        query_start_loc,
        reduce,
        replicate,
        requests,
        seq_lens,
        tokens,
    )
    from microbatch.cutting.slices import UBatchSlice
    from microbatch.dynamic import DynamicUBatchWrapper
    from microbatch.errors import MicrobatchError
    from microbatch.extend.hookspecs import hookimpl
    from microbatch.extend.records import (
        BackendInfo,
        ContainerInfo,
        FailureKind,
        MemoryReading,
        PolicyInfo,
        Proposal,
        SizingRequest,
        StepReport,
    )
    from microbatch.loading.plugins import backends, plugins, policies
    from microbatch.metadata import UbatchMetadata
    from microbatch.options.fields import UBatchConfig
    from microbatch.options.sources import config
    from microbatch.proof.check import check
    from microbatch.proof.report import CheckReport
    from microbatch.step.ubatches import make_ubatch_contexts
    from microbatch.tuning.report import TuneReport
    from microbatch.tuning.tune import tune
    from microbatch.turns.barrier import UBatchBarrier
    from microbatch.turns.context import UBatchContext, current_ubatch
    from microbatch.turns.state import UBatchState
    from microbatch.wrapper import UBatchWrapper, wrap

__version__ = "0.1.0"
"""The one place of the version: the build reads it from here."""

_WHERE = {
    "binding.rules": "Layout collect per_ubatch query_start_loc reduce replicate requests seq_lens tokens",
    "cutting.slices": "UBatchSlice",
    "dynamic": "DynamicUBatchWrapper",
    "errors": "MicrobatchError",
    "extend.hookspecs": "hookimpl",
    "extend.records": (
        "BackendInfo ContainerInfo FailureKind MemoryReading PolicyInfo Proposal SizingRequest StepReport"
    ),
    "loading.plugins": "backends plugins policies",
    "metadata": "UbatchMetadata",
    "options.fields": "UBatchConfig",
    "options.sources": "config",
    "proof.check": "check",
    "proof.report": "CheckReport",
    "step.ubatches": "make_ubatch_contexts",
    "tuning.report": "TuneReport",
    "tuning.tune": "tune",
    "turns.barrier": "UBatchBarrier",
    "turns.context": "UBatchContext current_ubatch",
    "turns.state": "UBatchState",
    "wrapper": "UBatchWrapper wrap",
}
"""Module -> the public names that it has."""
_MODULES = ("dbo", "errors", "testing")

__all__ = sorted([*_MODULES, *(name for names in _WHERE.values() for name in names.split())])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"microbatch.{name}")
    for module, names in _WHERE.items():
        if name in names.split():
            value = getattr(import_module(f"microbatch.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'microbatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
