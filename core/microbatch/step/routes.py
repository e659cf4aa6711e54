"""How the steps with arguments of one kind go: backend, schedule, and what sizes depend on.

Invariant: worked out once for a kind of arguments and kept where nothing of it can change; a process that has
become one rank of several, or is none any more, gets a new route. Where ranks agree, nothing is tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from microbatch.arrays.looks import is_array
from microbatch.binding.binder import Binder
from microbatch.extend.abilities import Ranks, SupportsRanks
from microbatch.extend.device import Device, device_of
from microbatch.extend.protocols import Backend
from microbatch.host.cores import usable_cores
from microbatch.loading.choose_backend import BackendChoice
from microbatch.proof.module_modes import StateWatch
from microbatch.proof.verdict import Verdict
from microbatch.sizing.conditions import Conditions, ConditionsOf
from microbatch.step.choose_schedule import choose_schedule
from microbatch.step.wrapping import Wrapping


class Route(Struct, frozen=True):
    """What the steps on one backend have in common."""

    binder: Binder
    """Finds the batch; has the device."""
    schedule: str
    """Name of the schedule."""
    note: str
    """Why that schedule; empty where there is nothing to tell."""
    conditions: Conditions
    """What sizes depend on besides the batch."""
    ranks: Ranks | None
    """The ranks that run each step together; None where this one runs it as if it were alone."""
    group: tuple[SupportsRanks, object | None, Ranks | None] | None = None
    """Who says which ranks there are, of which group, and what the answer was; None for never any."""
    grouping: str = ""
    """Name of the module that makes groups. While nobody has imported it, the route cannot be outdated."""

    def outdated(self) -> bool:
        """Whether this process has become one rank of several, or of others, or none."""
        if self.group is None:
            return False
        known, named, before = self.group
        return known.ranks(named) is not before


class Routes:
    """The routes of one wrapper."""

    def __init__(self, wrapping: Wrapping, modules: StateWatch) -> None:
        config = wrapping.config
        self._wrapping = wrapping
        self._modules = modules
        self._choice = BackendChoice(config.backend, wrapping.plugins)
        self._devices: dict[str, Device] = {}
        plugins = wrapping.plugins
        self._owner = lambda array: plugins.backend_for([array])  # no method of ours: that would be a cycle
        self._binders: dict[tuple[str, bool], Binder] = {}
        self.kept: dict[tuple[type, str], Route] = {}
        """By type and device of the first argument; for who asks at every step."""
        self._has_modules = modules.found
        self._cores = usable_cores()
        self._conditions = ConditionsOf(
            min(config.thread_pool_size, self._cores), config.graph_sizes if config.graphs else None
        )

    def backend(self) -> Backend:
        """The backend that a step without arrays would use."""
        return self._choice.last()

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Route:
        """How steps with these arguments go; kept by the kind of the first where nothing of it can change."""
        wrapping, backend = self._wrapping, self._choice.of(args, kwargs)
        config = wrapping.config
        device = self._device(backend)
        found = None if device.ranks is None else device.ranks.ranks(config.process_group)
        ranks = found if config.ranks == "agree" else None
        binder = self._binder(device, strict=config.verify == "never")
        schedule, note = choose_schedule(wrapping, backend, self._modules, self._cores, found)
        route = Route(
            binder,
            schedule,
            note,
            self._conditions.step(device, schedule, ranks),
            ranks,
            None if device.ranks is None else (device.ranks, config.process_group, found),
            "" if device.ranks is None else device.ranks.grouping,
        )
        if args and is_array(args[0]) and not self._has_modules and binder.device.probe is None:
            self.kept[type(args[0]), str(getattr(args[0], "device", ""))] = route
        return route

    def _device(self, backend: Backend) -> Device:
        known = self._devices.get(backend.name)
        return known or self._devices.setdefault(backend.name, device_of(backend, self._owner))

    def _binder(self, device: Device, *, strict: bool) -> Binder:
        """What finds batches on `device`; strict where the caller says that nothing is to be proven."""
        key, wrapping = (device.backend.name, strict), self._wrapping
        binder = self._binders.get(key)
        if binder is None:
            binder = Binder(layout=wrapping.layout, names=wrapping.names, device=device, strict=strict)
            self._binders[key] = binder
        return binder

    def overlapping(self, route: Route, verdict: Verdict | None) -> Route:
        """The route, one part after another where `auto` would let calls overlap that must not."""
        config = self._wrapping.config
        if verdict is None or not verdict.why_sequential:
            return route
        if route.schedule != "parallel" or config.schedule != "auto":
            return route
        conditions = self._conditions.step(route.binder.device, "sequential", route.ranks)
        return replace(
            route,
            schedule="sequential",
            note=f"not in parallel: {verdict.why_sequential}",
            conditions=conditions,
        )
