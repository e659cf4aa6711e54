"""Schedules that hypothesis draws.

Invariant: a drawn schedule is a short list of departures from the steady one, so it shrinks to the one or two
switches that matter. Drawing each decision took 10 times as many runs and shrank worse.
"""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["switch_lists"]


def switch_lists(
    *, max_switches: int = 4, decisions: int = 60, tasks: int = 4
) -> st.SearchStrategy[list[tuple[int, int]]]:
    """Schedules for `Preemptions`: (number of the decision, which task goes on)."""
    switch = st.tuples(st.integers(0, decisions - 1), st.integers(0, tasks - 1))
    return st.lists(switch, max_size=max_switches, unique_by=lambda drawn: drawn[0])
