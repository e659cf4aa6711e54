"""What a wrapper was made from, for those who prepare and run its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from microbatch.binding.rules import Layout
from microbatch.loading.plugins import Plugins
from microbatch.options.fields import UBatchConfig
from microbatch.step.progress import Progress
from microbatch.turns.ambient import Ambient
from microbatch.turns.runtime import Runtime


class Wrapping(Struct, frozen=True, kw_only=True):
    """What a wrapper was made from."""

    function: Callable[..., Any]
    """What runs on the parts."""
    config: UBatchConfig
    """The options."""
    plugins: Plugins
    """Where backends come from, and who hears of finished steps."""
    runtime: Runtime
    """The seam for threads and time."""
    layout: Layout | None = None
    """Which leaf is what; None infers it from sizes."""
    names: tuple[str, ...] = ()
    """Parameter names of the function, by position."""
    progress: Progress | Literal[True] | None = None
    """Told how far each step is; True shows a bar."""
    threads: int = 1
    """Threads that the workers of the wrapper may be in all, the caller's included."""
    ambient: Ambient | None = None
    """What surrounds each ubatch while it runs."""
    policy: str = "auto"
    """Name of the policy, or of the chain."""
    patience: float | None = None
    """Seconds that a rank waits for the others before a step; None is the limit of their group."""
