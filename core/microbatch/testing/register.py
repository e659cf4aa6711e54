"""The hypothesis entry point: lets `st.from_type` and `st.builds` make valid records of ours.

Invariant: hypothesis imports this when it is imported, so it imports nothing heavy: strategies are made when
asked for.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from microbatch.binding.rules import Layout
from microbatch.cutting.slices import BatchShape, UBatchSlice
from microbatch.extend.records import MemoryReading, SizingRequest, StepReport

_STRATEGIES: dict[type, str] = {
    BatchShape: "batch_shapes",
    Layout: "layouts",
    MemoryReading: "memory_readings",
    SizingRequest: "sizing_requests",
    StepReport: "step_outcomes",
    UBatchSlice: "ubatch_slices",
}


def _strategy(kind: type) -> st.SearchStrategy[Any]:
    from microbatch.testing import strategies

    made: st.SearchStrategy[Any] = getattr(strategies, _STRATEGIES[kind])()
    return made


for _kind in _STRATEGIES:
    st.register_type_strategy(_kind, _strategy)
