"""microbatch: run one step as micro-batches, on any array framework.

Nothing lost, fits, fast. `import microbatch` loads neither torch nor cupy, and each public name is imported when
it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from microbatch import dbo, errors, testing
    from microbatch.batch.layout import (
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
    from microbatch.batch.metadata import UbatchMetadata
    from microbatch.batch.slicing import UBatchSlice
    from microbatch.checking import CheckReport, check
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
    from microbatch.listings import backends, plugins, policies
    from microbatch.options import config
    from microbatch.turns.barrier import UBatchBarrier
    from microbatch.turns.context import UBatchContext, current_ubatch, make_ubatch_contexts
    from microbatch.turns.state import UBatchState
    from microbatch.ubatch_config import UBatchConfig
    from microbatch.wrapper import UBatchWrapper, wrap

_HOMES = {
    "batch.layout": ("Layout collect per_ubatch query_start_loc reduce replicate requests seq_lens tokens"),
    "batch.metadata": "UbatchMetadata",
    "batch.slicing": "UBatchSlice",
    "checking": "CheckReport check",
    "ubatch_config": "UBatchConfig",
    "dynamic": "DynamicUBatchWrapper",
    "errors": "MicrobatchError",
    "extend.hookspecs": "hookimpl",
    "extend.records": (
        "BackendInfo ContainerInfo FailureKind MemoryReading PolicyInfo Proposal SizingRequest StepReport"
    ),
    "listings": "backends plugins policies",
    "options": "config",
    "turns.barrier": "UBatchBarrier",
    "turns.context": "UBatchContext current_ubatch make_ubatch_contexts",
    "turns.state": "UBatchState",
    "wrapper": "UBatchWrapper wrap",
}
_MODULES = ("dbo", "errors", "testing")

__all__ = [
    "BackendInfo",
    "CheckReport",
    "ContainerInfo",
    "DynamicUBatchWrapper",
    "FailureKind",
    "Layout",
    "MemoryReading",
    "MicrobatchError",
    "PolicyInfo",
    "Proposal",
    "SizingRequest",
    "StepReport",
    "UBatchBarrier",
    "UBatchConfig",
    "UBatchContext",
    "UBatchSlice",
    "UBatchState",
    "UBatchWrapper",
    "UbatchMetadata",
    "backends",
    "check",
    "collect",
    "config",
    "current_ubatch",
    "dbo",
    "errors",
    "hookimpl",
    "make_ubatch_contexts",
    "per_ubatch",
    "plugins",
    "policies",
    "query_start_loc",
    "reduce",
    "replicate",
    "requests",
    "seq_lens",
    "testing",
    "tokens",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"microbatch.{name}")
    for home, names in _HOMES.items():
        if name in names.split():
            value = getattr(import_module(f"microbatch.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'microbatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
