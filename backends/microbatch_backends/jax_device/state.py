"""What JAX keeps per thread, carried from the caller into workers: the settings of `with
jax.enable_x64(True)` and its like.

Invariant: inside `apply` the thread has the caller's settings, after it its own. Context variables do not
have them. Settings that a version of JAX does not have are left out. Rejected: taking all that JAX keeps by
its private functions, which change from one version to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from microbatch.extend.protocols import ThreadState
from microbatch_backends.jax_device.namespace import jax

NAMES = (
    "enable_x64",
    "default_device",
    "default_matmul_precision",
    "default_prng_impl",
    "threefry_partitionable",
    "enable_custom_prng",
    "legacy_prng_key",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "softmax_custom_jvp",
    "debug_nans",
    "debug_infs",
    "debug_key_reuse",
    "enable_checks",
    "log_compiles",
    "explain_cache_misses",
    "transfer_guard_host_to_device",
    "transfer_guard_device_to_device",
    "transfer_guard_device_to_host",
)
"""Blocks of JAX that set something for the calling thread, and that tell its value."""
SETTINGS: tuple[Any, ...] = tuple(
    setting for setting in (getattr(jax, name, None) for name in NAMES) if hasattr(setting, "value")
)


class JaxState:
    """A snapshot of the calling thread, on top of what `inner` has of it."""

    __slots__ = ("_eager", "_inner", "_values")

    def __init__(self, inner: ThreadState) -> None:
        self._inner = inner
        self._values = [setting.value for setting in SETTINGS]
        self._eager: bool = jax.config.jax_disable_jit

    def apply(self) -> AbstractContextManager[None]:
        """Set it in the thread that enters, undo on exit."""
        blocks: list[AbstractContextManager[Any]] = [self._inner.apply()]
        for setting, value in zip(SETTINGS, self._values, strict=True):
            if setting.value != value:
                blocks.append(setting(value))
        if jax.config.jax_disable_jit != self._eager:
            blocks.append(jax.disable_jit(self._eager))
        return blocks[0] if len(blocks) == 1 else Applied(blocks)


class Applied:
    """The block in which a thread has the settings of another; it may be left more than once."""

    __slots__ = ("_blocks", "_entered")

    def __init__(self, blocks: Sequence[AbstractContextManager[Any]]) -> None:
        self._blocks = blocks
        self._entered: list[AbstractContextManager[Any]] = []

    def __enter__(self) -> None:
        for block in self._blocks:
            block.__enter__()
            self._entered.append(block)

    def __exit__(self, *exc_info: object) -> None:
        if self._entered:
            try:
                self._entered.pop().__exit__(None, None, None)
            finally:
                self.__exit__()
