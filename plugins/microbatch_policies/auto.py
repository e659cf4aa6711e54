"""`auto`: the policy when none is named."""

from __future__ import annotations

from microbatch_policies.throughput import Throughput

__all__ = ["Auto"]


class Auto(Throughput):
    """The fastest size."""
