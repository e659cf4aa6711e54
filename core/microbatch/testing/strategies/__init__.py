"""Hypothesis strategies for batches, cuts, orders, faults and records.

All arguments are by keyword, and all strategies shrink to small cases.
"""

from microbatch.testing.strategies.batches import (
    DrawnBatch,
    arrays,
    batch_shapes,
    batches,
    layouts,
    pytrees,
    query_start_locs,
    row_functions,
)
from microbatch.testing.strategies.cuts import DrawnCut, cuts, plans
from microbatch.testing.strategies.devices import Fault, faults, traces, turn_lists, work_orders
from microbatch.testing.strategies.numbers import (
    memory_readings,
    memory_traces,
    sizing_requests,
    step_outcomes,
    ubatch_slices,
)

__all__ = [
    "DrawnBatch",
    "DrawnCut",
    "Fault",
    "arrays",
    "batch_shapes",
    "batches",
    "cuts",
    "faults",
    "layouts",
    "memory_readings",
    "memory_traces",
    "plans",
    "pytrees",
    "query_start_locs",
    "row_functions",
    "sizing_requests",
    "step_outcomes",
    "traces",
    "turn_lists",
    "ubatch_slices",
    "work_orders",
]
