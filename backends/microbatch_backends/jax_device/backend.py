"""The backend for arrays of JAX: `jax`.

Invariant: a step sees no work that is still running. JAX has one queue a device and no streams, and orders
its work by what depends on what; each call of the function is waited for, so nothing else has to be. So
streams here are those of the host. On the CPU parts run side by side and the host's memory is watched; on any
other device one part follows another, and what JAX says of its memory counts.

Rejected: leaving parts in JAX's queue, where the memory of all of them is taken at once and an error comes
when it is not known any more which part it is of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microbatch.extend.records import MemoryReading
from microbatch_backends.host.backend import HostBackend
from microbatch_backends.host.memory import HostMemory
from microbatch_backends.host.peak import HostPeak
from microbatch_backends.host.state import HostState
from microbatch_backends.jax_device import arrays
from microbatch_backends.jax_device.compiled import needs
from microbatch_backends.jax_device.dispatch import Awaited
from microbatch_backends.jax_device.namespace import jax


class JaxBackend(HostBackend):
    """The `jax` backend; `memory` is there for tests."""

    name: str = "jax"
    joins: bool = True

    def __init__(self, memory: HostMemory | None = None) -> None:
        super().__init__(HostState, memory)

    owns = staticmethod(arrays.owns)
    empty = staticmethod(arrays.empty)
    copy = staticmethod(arrays.copy)
    rows = staticmethod(arrays.rows)
    concatenate = staticmethod(arrays.concatenate)
    take = staticmethod(arrays.take)
    scatter = staticmethod(arrays.scatter)
    differentiable = staticmethod(arrays.differentiable)
    unsupported = staticmethod(arrays.unsupported)
    values = staticmethod(arrays.values)

    @property
    def parallel(self) -> bool:  # type: ignore[override]  # the base has it for the class
        """Whether parts run side by side: on the CPU, where JAX runs what each thread gives it."""
        return _on_host()

    def awaiting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that returns when all arrays that `function` gave are there."""
        return Awaited(function)

    needs = staticmethod(needs)

    def memory(self) -> MemoryReading:
        """The host's on the CPU, else what JAX says of the device."""
        stats = None if _on_host() else _device().memory_stats()
        if not stats or not stats.get("bytes_limit"):
            return super().memory()
        capacity, in_use = int(stats["bytes_limit"]), int(stats["bytes_in_use"])
        return MemoryReading(
            capacity=capacity,
            in_use=in_use,
            usable=max(0, capacity - in_use),
            peak=max(in_use, int(stats.get("peak_bytes_in_use", 0))),
            pressure=min(1.0, in_use / capacity),
        )

    def peak_mark(self) -> HostPeak | None:
        """Start measuring on the CPU; None elsewhere, where what JAX calls the peak never falls."""
        return super().peak_mark() if _on_host() else None

    def may_probe(self) -> bool:
        """Whether a part that does not fit raises and the device is as before: not in the host's memory."""
        return not _on_host()

    def device_name(self) -> str:  # type: ignore[override]  # the base has a plain function there
        """The device that JAX computes on, as its vendor calls it."""
        return super().device_name() if _on_host() else str(_device().device_kind)


def _on_host() -> bool:
    return str(_device().platform) == "cpu"


def _device() -> Any:
    """Where JAX computes what is committed to no other device, for the calling thread."""
    named = jax.config.jax_default_device
    return jax.local_devices()[0] if named is None or isinstance(named, str) else named
