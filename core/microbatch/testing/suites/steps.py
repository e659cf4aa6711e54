"""Whole steps: a backend's arrays go through a wrapper as a user's do, tried first and cut then."""

from __future__ import annotations

from typing import Any

from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.suites.base import BackendChecks

ROWS, PARTS = 24, 3


class StepChecks(BackendChecks):
    """What all the small promises are for."""

    def check_a_plain_step_is_tried_and_cut(self) -> None:
        """A wrapper compares values of the arrays before it cuts: NumPy must be able to read them
        (`__array__`), or the backend has `values`."""
        from microbatch.wrapper import UBatchWrapper

        backend, values = self.make_backend(), self.numbers(ROWS)
        with UBatchWrapper(
            _same,
            plugins=GivenBackends(backend),
            backend=backend.name,
            schedule="sequential",
            num_ubatches=PARTS,
        ) as step:
            result = step(self.make_array(backend, values))
        assert step.last_report is not None
        assert step.last_report.split, step.last_report.reason
        self.assert_values(backend, result, values)


def _same(rows: Any) -> Any:
    """Refers to no backend, whose fields would be put back as those of a user's object are."""
    return rows
