"""A function of tensors that returns NumPy arrays, on the torch backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch

torch = pytest.importorskip("torch", reason="the torch backend needs torch")


@pytest.mark.parametrize("splitter", ["even", "packed"])
@pytest.mark.parametrize("schedule", ["sequential", "parallel"])
def test_numpy_outputs_are_gathered(splitter: str, schedule: str) -> None:
    x = torch.arange(24.0).reshape(12, 2)
    mask = torch.ones(12, 2, dtype=torch.bool).tril_()
    layout = microbatch.Layout(lengths="mask") if splitter == "packed" else None

    def double(x: Any, mask: Any) -> Any:
        return {"numpy": x.numpy() * 2, "torch": x * 2}

    options = {"num_ubatches": 3, "splitter": splitter, "schedule": schedule}
    with microbatch.wrap(double, backend="torch-cpu", layout=layout, **options) as wrapped:
        result = wrapped(x, mask)
    np.testing.assert_array_equal(result["numpy"], x.numpy() * 2)
    assert torch.equal(result["torch"], x * 2)
