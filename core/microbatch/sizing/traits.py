"""What a step's device lets a policy do: which sizes have graphs, and whether a size may be tried.

Invariant: nothing is tried to failure on a host (its process is killed), nor by one rank of several (the others wait in
a collective). Which abilities a backend has is looked up once; a step then costs 0.1 us on a host.
"""

from __future__ import annotations

from dataclasses import dataclass

from microbatch.extend.abilities import SupportsGraphs, SupportsProbe, SupportsProcessGroup
from microbatch.extend.protocols import Backend

__all__ = ["NO_TRAITS", "DeviceTraits", "Traits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceTraits:
    """What holds for one step."""

    graph_sizes: tuple[int, ...] = ()
    """Rows that have, or will have, a captured graph, in increasing order; empty without graphs."""
    probe: bool = False
    """Whether a part that does not fit raises and can be tried again."""


NO_TRAITS = DeviceTraits()


class Traits:
    """Reads them from backends; `graph_sizes` are those of the configuration, None where graphs are off."""

    __slots__ = ("_backend", "_graph_sizes", "_group", "_probing", "_with", "_without")

    def __init__(self, graph_sizes: tuple[int, ...] | None) -> None:
        self._graph_sizes = graph_sizes or ()
        self._backend: Backend | None = None
        self._probing: SupportsProbe | None = None
        self._group: SupportsProcessGroup | None = None
        self._with = self._without = NO_TRAITS

    def of(self, backend: Backend) -> DeviceTraits:
        """The traits of the calling thread's device."""
        if backend is not self._backend:
            self._look(backend)
        probing, group = self._probing, self._group
        if probing is None:
            return self._without
        alone = group is None or not group.in_process_group()
        return self._with if alone and probing.may_probe() else self._without

    def _look(self, backend: Backend) -> None:
        sizes = self._graph_sizes if isinstance(backend, SupportsGraphs) else ()
        self._without = DeviceTraits(graph_sizes=sizes)
        self._with = DeviceTraits(graph_sizes=sizes, probe=True)
        self._probing = backend if isinstance(backend, SupportsProbe) else None
        self._group = backend if isinstance(backend, SupportsProcessGroup) else None
        self._backend = backend
