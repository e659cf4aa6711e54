"""Functions of rows that several tests run, with and without yield points, and what they give."""

from __future__ import annotations

from typing import Any

from microbatch import dbo


def plain(x: Any) -> Any:
    """Intermediate arrays are dropped at once, so that their memory is used again."""
    return {"wide": (x * 2 + 1) * 3, "sum": (x - 1).sum(axis=1)}


def yielding(x: Any) -> Any:
    """The same as a model under dual batch overlap: compute, communicate, compute."""
    h = x * 2
    dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
    h = h + 1
    dbo.dbo_yield_and_switch_from_comm_to_compute("combine")
    h = h * 3
    dbo.dbo_switch_to_comm_sync()
    total = (x - 1).sum(axis=1)
    dbo.dbo_yield()
    dbo.dbo_switch_to_compute_sync()
    return {"wide": h, "sum": total + 0}
