"""A sizing policy for microbatch: parts of a fixed number of rows. Begin here.

Invariant: answers depend on what was observed and nothing else, so the same reports give the same sizes.
"""

from __future__ import annotations

from microbatch import PolicyInfo, Proposal, SizingRequest, StepReport, hookimpl

__all__ = ["Sample"]


class Sample:
    """Parts of `rows` rows; `policy_options={"rows": 32}` says how many."""

    def __init__(self, rows: int = 64) -> None:
        if type(rows) is not int or rows < 1:
            raise ValueError(f"rows is {rows!r}; give a whole number of at least 1")
        self._rows = rows

    def propose(self, request: SizingRequest) -> Proposal:
        """How large a part may be. The request has numbers only: rows, bytes of a row, memory, workers."""
        return Proposal(limit=self._rows, reason=f"at most {self._rows} rows")

    def observe(self, report: StepReport) -> None:
        """Called after each step: its sizes, times and memory, to learn from."""


@hookimpl
def microbatch_register_policies() -> list[PolicyInfo]:
    """Announce `sample`; microbatch imports the class when somebody names it."""
    return [PolicyInfo(name="sample", load="microbatch_sample:Sample", summary="parts of a fixed size")]
