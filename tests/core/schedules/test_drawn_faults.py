"""A failure at a drawn place of a drawn step on the adversarial device, under a drawn order of its work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.testing import AdversarialBackend, DeviceOutOfMemoryError
from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.strategies import Fault, faults, work_orders

UBATCHES = 4
ROWS = np.arange(4.0 * UBATCHES).reshape(2 * UBATCHES, 2)
SCHEDULES = ["sequential", "parallel", "pingpong", "streamed"]


class Failing:
    """`x * 2 + 1`, failing once: at the first call of a part of the drawn ubatch, before or after its
    work."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.error: BaseException | None = (
            DeviceOutOfMemoryError("drawn") if fault.memory else KeyError("drawn")
        )

    def strike(self, stage: str, first_row: int) -> None:
        """Raise if this is the place."""
        error = self.error
        if error is not None and (stage, first_row) == (self.fault.stage, 2 * self.fault.ubatch):
            self.error = None
            raise error

    def __call__(self, x: Any, row: Any) -> Any:
        self.strike("load", int(row[0]))
        y = x * 2
        dbo.dbo_yield()
        self.strike("compute", int(row[0]))
        y = y + 1
        dbo.dbo_yield()
        self.strike("store", int(row[0]))
        return y


@contextmanager
def wrapped(device: AdversarialBackend, function: Any, schedule: str) -> Iterator[Any]:
    layout = microbatch.Layout(inputs={"x": microbatch.tokens(), "row": microbatch.tokens()})
    with microbatch.wrap(
        function, backend="adversarial", plugins=GivenBackends(device), schedule=schedule, layout=layout,
        num_ubatches=UBATCHES, policy="fixed",
    ) as wrapper:  # fmt: skip
        yield wrapper


@pytest.mark.counted
@given(fault=faults(ubatches=UBATCHES), order=work_orders(), schedule=st.sampled_from(SCHEDULES))
def test_memory_is_found_in_smaller_parts_and_any_other_error_is_the_callers(
    fault: Fault, order: Any, schedule: str
) -> None:
    device = AdversarialBackend(order)
    function = Failing(fault)
    error = function.error
    rows = list(range(len(ROWS)))
    with wrapped(device, function, schedule) as wrapper:
        if fault.memory:
            got = np.asarray(wrapper(x=device.array(ROWS), row=rows))
            np.testing.assert_array_equal(got, ROWS * 2 + 1)
            assert wrapper.last_report.oom_sizes == (2,)
        else:
            with pytest.raises(KeyError) as caught:
                wrapper(x=device.array(ROWS), row=rows)
            assert caught.value is error
            assert f"in ubatch {fault.ubatch} of {UBATCHES}" in " ".join(caught.value.__notes__)
        again = np.asarray(wrapper(x=device.array(ROWS), row=rows))
        np.testing.assert_array_equal(again, ROWS * 2 + 1)
