"""The options of a wrapper, as one frozen record.

Invariant: a value of this class is valid; whoever holds one need not check it again. Where each value came from
(argument, context manager, environment, file, default) is the business of `options.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["UBatchConfig"]


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
    """Most bytes the step may use; None takes what the backend reads."""
    strict_yields: bool = False
    """Report unequal numbers of yields instead of letting a finished ubatch leave."""
    history: str | None = None
    """Path of the file in which learned sizes are kept across runs; None keeps nothing."""
    thread_safe: bool = True
    """False says that two calls of the function must never overlap."""
    max_ubatches: int = 65536
    """Most ubatches in one step; a guard against a wrong count."""
