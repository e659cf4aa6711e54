"""The options of a wrapper, as one frozen record.

Invariant: a value of this class is valid; whoever holds one need not check it again. Where each value came
from (argument, context manager, environment, file, default) is the business of `sources.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from types import MappingProxyType
from typing import Any

from microbatch.errors import ArgumentValueError
from microbatch.options import checks

__all__ = ["DRIVERS", "SCHEDULES", "SPLITTERS", "UBatchConfig", "checked"]

SPLITTERS = ("auto", "even", "floor", "request-aligned", "packed")
"""What `splitter` may be."""
SCHEDULES = ("auto", "sequential", "parallel", "pingpong", "streamed")
"""What `schedule` may be."""
DRIVERS = ("threads", "greenlets")
"""What `driver` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UBatchConfig:
    """How a wrapper cuts and runs its steps."""

    num_ubatches: int = 2
    """Ubatches per step for the policies that follow a count (`fixed`)."""
    max_tokens_per_ubatch: int = 512
    """Token budget of one ubatch for the policies that follow a budget (`tokens`)."""
    thread_pool_size: int = 4
    """Most threads a step may use, the caller's included; also capped by the cores this process may use."""
    barrier_timeout: float | None = 30.0
    """Seconds any wait between ubatches may take; None waits for ever."""
    enable_overlap: bool = True
    """False runs ubatches one after another in the caller's thread."""
    backend: str = "auto"
    """Backend name; `auto` asks the inputs, then the priorities. A named backend never falls back."""
    policy: str = "auto"
    """Policy name, or a chain of names joined by commas; each may only lower the limit."""
    splitter: str = "auto"
    """even, floor, request-aligned or packed; `auto` is packed where requests have lengths, else even."""
    schedule: str = "auto"
    """sequential, parallel, pingpong or streamed; `auto` is parallel where that is safe, else sequential."""
    driver: str = "threads"
    """What carries the ubatches of `pingpong`: threads or greenlets."""
    memory_limit: int | None = None
    """Most bytes the step may use, also given as text (`"2GiB"`); None takes what the backend reads."""
    strict_yields: bool = False
    """Report unequal numbers of yields instead of letting a finished ubatch leave."""
    history: str | None = None
    """Path of the file in which learned sizes are kept across runs; None keeps nothing."""
    model: str | None = None
    """Id of the model in the history; None takes the module and name of the function."""
    thread_safe: bool = True
    """False says that two calls of the function must never overlap."""
    graphs: bool = False
    """Capture calls, or whole steps of ubatches that take turns, as graphs and replay them, where the backend
    can and the results are those without. A replay reads weights where they were at the capture (updates in
    place are seen, other arrays in their place are not) and repeats no host code; wrap again after replacing
    weights."""
    graph_sizes: tuple[int, ...] | None = None
    """Rows to capture; calls are padded up to the next larger number. None captures sizes as they come."""
    max_ubatches: int = 65536
    """Most ubatches in one step; a guard against a wrong count."""

    def __post_init__(self) -> None:
        """Raise ArgumentTypeError, ArgumentValueError or UnknownNameError for the first wrong value."""
        for field in fields(self):
            object.__setattr__(self, field.name, checked(field.name, getattr(self, field.name)))
        if self.num_ubatches > self.max_ubatches:
            raise ArgumentValueError(
                f"num_ubatches is {self.num_ubatches}, above the cap of {self.max_ubatches}; "
                "lower it, or raise max_ubatches"
            )


def checked(field: str, value: Any) -> Any:
    """`value` as the field of that name holds it; raises what the constructor raises."""
    return _CHECKS[field](field, value)


_CHECKS: Mapping[str, Callable[[str, Any], Any]] = MappingProxyType(
    {
        "num_ubatches": checks.count,
        "max_tokens_per_ubatch": checks.count,
        "thread_pool_size": partial(checks.count, highest=4096),
        "barrier_timeout": checks.seconds,
        "enable_overlap": checks.flag,
        "backend": checks.names,
        "policy": checks.names,
        "splitter": partial(checks.choice, known=SPLITTERS),
        "schedule": partial(checks.choice, known=SCHEDULES),
        "driver": partial(checks.choice, known=DRIVERS),
        "memory_limit": checks.size,
        "strict_yields": checks.flag,
        "history": checks.path,
        "model": checks.label,
        "thread_safe": checks.flag,
        "graphs": checks.flag,
        "graph_sizes": checks.increasing,
        "max_ubatches": partial(checks.count, highest=2**31 - 1),
    }
)
