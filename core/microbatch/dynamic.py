"""A wrapper that keeps its steps below a share of the memory and learns the best size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microbatch.errors import ArgumentValueError
from microbatch.options import checks
from microbatch.options.fields import UBatchConfig
from microbatch.wrapper import UBatchWrapper


class DynamicUBatchWrapper(UBatchWrapper):
    """As UBatchWrapper, bounded by `memory_threshold` (a fraction of the device's capacity, 0 to 1)."""

    def __init__(
        self,
        runnable: Callable[..., Any],
        config: UBatchConfig | None = None,
        memory_threshold: float = 0.8,
        **options: Any,
    ) -> None:
        self.memory_threshold = _fraction(memory_threshold)
        super().__init__(runnable, config, memory_share=self.memory_threshold, **options)

    def record_timing(self, num_tokens: int, elapsed: float) -> None:
        """Teach the policy a time measured elsewhere: `elapsed` seconds for one ubatch of `num_tokens`.

        It counts for such rows as the last step had; what is recorded before any step, for those of the
        first. Raises ArgumentTypeError or ArgumentValueError for what is no number of units or no time.
        """
        units = checks.count("num_tokens", num_tokens)
        self._microbatch.engine.planner.teach(units, checks.seconds("elapsed", elapsed))

    def optimal_ubatch_size(self) -> int:
        """Units per ubatch that the policy would allow for a batch like the last one.

        Before any step, the size with the best rate that was recorded, and 0 where none was.
        """
        return self._microbatch.engine.planner.optimal()

    def _get_memory_usage(self) -> float:
        """Measured share of the device's capacity in use now, 0 to 1."""
        reading = self._microbatch.engine.backend().memory()
        return reading.in_use / reading.capacity if reading.capacity else 0.0


def _fraction(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        hint = (
            f" did you mean {value / 100:g}?" if isinstance(value, (int, float)) and 1 < value <= 100 else ""
        )
        raise ArgumentValueError(f"memory_threshold is {value!r}; expected a finite number in (0, 1].{hint}")
    return float(value)
