"""microbatch: run one step as micro-batches, on any array framework.

Nothing lost, fits, fast. `import microbatch` loads neither torch nor cupy, and each public name is imported
when it is first used.
"""

from __future__ import annotations

# That of `typing` takes 10 ms to import, in which Ctrl-C would be a traceback on the command line.
TYPE_CHECKING = False

# `name as name` makes a name public for checkers of types, which read `__all__` only where it is written out.
if TYPE_CHECKING:
    from typing import Any

    from microbatch import dbo as dbo
    from microbatch import errors as errors
    from microbatch import testing as testing
    from microbatch.binding.rules import Layout as Layout
    from microbatch.binding.rules import collect as collect
    from microbatch.binding.rules import computed_tokens as computed_tokens
    from microbatch.binding.rules import per_ubatch as per_ubatch
    from microbatch.binding.rules import query_start_loc as query_start_loc
    from microbatch.binding.rules import reduce as reduce
    from microbatch.binding.rules import replicate as replicate
    from microbatch.binding.rules import requests as requests
    from microbatch.binding.rules import seq_lens as seq_lens
    from microbatch.binding.rules import tokens as tokens
    from microbatch.cutting.boundaries import is_last_ubatch_empty as is_last_ubatch_empty
    from microbatch.cutting.cut import cut as cut
    from microbatch.cutting.slices import BatchShape as BatchShape
    from microbatch.cutting.slices import Cut as Cut
    from microbatch.cutting.slices import UBatchSlice as UBatchSlice
    from microbatch.cutting.slices import padded_twin as padded_twin
    from microbatch.dynamic import DynamicUBatchWrapper as DynamicUBatchWrapper
    from microbatch.errors import MicrobatchError as MicrobatchError
    from microbatch.extend.hookspecs import hookimpl as hookimpl
    from microbatch.extend.records import BackendInfo as BackendInfo
    from microbatch.extend.records import ContainerInfo as ContainerInfo
    from microbatch.extend.records import FailureKind as FailureKind
    from microbatch.extend.records import MemoryReading as MemoryReading
    from microbatch.extend.records import PolicyInfo as PolicyInfo
    from microbatch.extend.records import Proposal as Proposal
    from microbatch.extend.records import RowsInfo as RowsInfo
    from microbatch.extend.records import SizingRequest as SizingRequest
    from microbatch.extend.records import StepReport as StepReport
    from microbatch.jobs.run_file import run_file as run_file
    from microbatch.jobs.streaming import stream as stream
    from microbatch.loading.plugins import backends as backends
    from microbatch.loading.plugins import plugins as plugins
    from microbatch.loading.plugins import policies as policies
    from microbatch.metadata import UbatchMetadata as UbatchMetadata
    from microbatch.metadata import make_ubatch_metadata as make_ubatch_metadata
    from microbatch.options.fields import UBatchConfig as UBatchConfig
    from microbatch.options.sources import config as config
    from microbatch.proof.check import check as check
    from microbatch.proof.report import CheckReport as CheckReport
    from microbatch.step.ubatches import make_ubatch_contexts as make_ubatch_contexts
    from microbatch.timeline.timeline import Timeline as Timeline
    from microbatch.timeline.timeline import record as record
    from microbatch.tuning.report import TuneReport as TuneReport
    from microbatch.tuning.tune import tune as tune
    from microbatch.turns.barrier import UBatchBarrier as UBatchBarrier
    from microbatch.turns.context import UBatchContext as UBatchContext
    from microbatch.turns.context import current_ubatch as current_ubatch
    from microbatch.turns.context import yield_at_collectives as yield_at_collectives
    from microbatch.turns.state import UBatchState as UBatchState
    from microbatch.wrapper import UBatchWrapper as UBatchWrapper
    from microbatch.wrapper import wrap as wrap

__version__ = "0.1.0"
"""The one place of the version: the build reads it from here."""

_WHERE = {
    "binding.rules": (
        "Layout collect computed_tokens per_ubatch query_start_loc reduce replicate requests seq_lens tokens"
    ),
    "cutting.boundaries": "is_last_ubatch_empty",
    "cutting.cut": "cut",
    "cutting.slices": "BatchShape Cut UBatchSlice padded_twin",
    "dynamic": "DynamicUBatchWrapper",
    "errors": "MicrobatchError",
    "extend.hookspecs": "hookimpl",
    "extend.records": (
        "BackendInfo ContainerInfo FailureKind MemoryReading PolicyInfo Proposal RowsInfo SizingRequest"
        " StepReport"
    ),
    "jobs.run_file": "run_file",
    "jobs.streaming": "stream",
    "loading.plugins": "backends plugins policies",
    "metadata": "UbatchMetadata make_ubatch_metadata",
    "options.fields": "UBatchConfig",
    "options.sources": "config",
    "proof.check": "check",
    "proof.report": "CheckReport",
    "step.ubatches": "make_ubatch_contexts",
    "timeline.timeline": "Timeline record",
    "tuning.report": "TuneReport",
    "tuning.tune": "tune",
    "turns.barrier": "UBatchBarrier",
    "turns.context": "UBatchContext current_ubatch yield_at_collectives",
    "turns.state": "UBatchState",
    "wrapper": "UBatchWrapper wrap",
}
"""Module -> the public names that it has."""
_MODULES = ("dbo", "errors", "testing")

__all__ = list(_MODULES + tuple(" ".join(_WHERE.values()).split()))  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"microbatch.{name}")
    for module, names in _WHERE.items():
        if name in names.split():
            return globals().setdefault(name, getattr(import_module(f"microbatch.{module}"), name))
    raise AttributeError(f"module 'microbatch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
