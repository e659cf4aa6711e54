"""What XLA says of the memory of a call before it is made.

Invariant: the function is traced and compiled as its call would be, and JAX keeps both, so asking costs the
call nothing: it runs what was compiled here. What fails is left to the call, which raises it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def needs(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[int, int] | None:
    """Bytes that a call takes beside its arguments and outputs, and bytes of its outputs.

    None for what `jax.jit` has not made.
    """
    if type(function).__name__ != "PjitFunction":
        return None
    lowered: Any = function
    try:
        told = lowered.lower(*args, **kwargs).compile().memory_analysis()
    except Exception:  # noqa: BLE001  # the call itself raises it, in its place
        return None
    if told is None:
        return None
    return int(told.temp_size_in_bytes), int(told.output_size_in_bytes)
