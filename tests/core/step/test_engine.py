"""The engine runs any plan: whatever is drawn, each row once, in order, and the plain call's result."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree
from hypothesis import given
from hypothesis import strategies as st

from microbatch import UBatchConfig
from microbatch.loading.plugins import Plugins
from microbatch.sizing.plan import Plan
from microbatch.sizing.planning import Planner
from microbatch.step.engine import Engine, Wrapping
from microbatch.testing.strategies import batches, layouts, plans, row_functions
from microbatch.turns.runtime import default_runtime
from microbatch_backends.host.backend import CpuBackend
from microbatch_policies.counts import Fixed
from tests.support.binding import bind


class Given(Planner):
    """A planner that has been told."""

    def __init__(self, plan: Plan, config: UBatchConfig) -> None:
        super().__init__(Fixed(), config)
        self._plan = plan

    def plan(self, *request: Any) -> Plan:
        return self._plan


@given(
    batch=st.one_of(batches(layout=layouts(ragged=False)), batches(layout=layouts(ragged=True))),
    function=row_functions(),
    schedule=st.sampled_from(["sequential", "parallel", "pingpong", "streamed"]),
    data=st.data(),
)
def test_any_plan_gives_the_plain_calls_result(batch: Any, function: Any, schedule: str, data: Any) -> None:
    shape = bind(batch.layout, (), batch.inputs, backend=CpuBackend()).shape
    plan = data.draw(plans(shapes=st.just(shape)))
    config = UBatchConfig(schedule=schedule)
    wrapping = Wrapping(
        function=function, config=config, plugins=Plugins(), runtime=default_runtime(), layout=batch.layout
    )
    engine = Engine(wrapping, Given(plan, config))
    try:
        got = engine.run((), batch.inputs)
    finally:
        engine.shutdown()
    expected = function(**batch.inputs)
    assert optree.tree_structure(got) == optree.tree_structure(expected)
    for one, other in zip(optree.tree_leaves(got), optree.tree_leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    assert engine.last_report is not None
    sizes = [shape.num_tokens] if plan.cut is None else [piece.num_tokens for piece in plan.cut.slices]
    assert sum(engine.last_report.sizes) == shape.num_tokens
    assert len(engine.last_report.sizes) == len(sizes)
