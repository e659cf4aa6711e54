"""What a step in parts does after its rows are in the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo

ROWS = np.arange(12.0).reshape(6, 2)


@pytest.mark.parametrize("driver", ["threads", "greenlets"])
def test_memory_that_runs_out_in_a_receive_hook_after_all_rows_were_stored_reaches_the_caller(
    driver: str,
) -> None:
    """Nothing is left to run again, and the step is not told to have gone well."""
    if driver == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")

    def no_room() -> None:
        raise MemoryError("no room to receive")

    def layer(x: Any) -> Any:
        if dbo.dbo_current_ubatch_id() == 0:
            dbo.dbo_register_recv_hook(no_room)
        dbo.dbo_yield()
        return x + 1

    with microbatch.wrap(
        layer, schedule="pingpong", driver=driver, policy="fixed", num_ubatches=2
    ) as wrapper:  # fmt: skip
        with pytest.raises(MemoryError, match="no room to receive"):
            wrapper(ROWS)
        assert wrapper.last_report is not None and wrapper.last_report.failure is not None
