"""The experiment on devices whose work is queued: what it reads is there, under every schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import UnprovenError
from microbatch.testing import AdversarialBackend
from microbatch.testing.adversarial.order import WORST_ORDERS
from microbatch.testing.given_plugins import GivenBackends

X = np.random.default_rng(0).normal(size=(32, 3))
SCHEDULES = ("sequential", "parallel", "pingpong", "streamed")


@pytest.mark.parametrize("order", WORST_ORDERS, ids=lambda order: str(order.starved))
@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rows_and_means_are_told_apart(schedule: str, host: bool, order: Any) -> None:
    device = AdversarialBackend(order)
    options: dict[str, Any] = {
        "backend": device.name,
        "plugins": GivenBackends(device),
        "schedule": schedule,
        "num_ubatches": 4,
        "policy": "fixed",
    }
    x = X if host else device.array(X)
    with microbatch.wrap(lambda a: a * 2 + 1, **options) as wrapped:
        for _ in range(2):
            np.testing.assert_array_equal(np.asarray(wrapped(x)), X * 2 + 1)
        assert wrapped.last_report is not None and len(wrapped.last_report.sizes) == 4
    with microbatch.wrap(lambda a: a - a.sum(0), **options) as wrapped, pytest.raises(UnprovenError):
        wrapped(x)
