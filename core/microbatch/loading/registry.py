"""What the plugins announce: their hooks checked, called once, and their records checked one by one.

Invariant: a fault of one plugin is written down against that plugin and costs the others nothing. Records
that leave here have the types their fields declare and this contract's number. Names of what comes with
microbatch are reserved: a third party that announces one is refused (it could otherwise take the place of
`cpu` or of the default policy unseen). Two third parties with one name are both kept, and looking that name
up is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pluggy
from pluggy import HookImpl

from microbatch.errors import PluginConflictError, UnknownNameError, near_match
from microbatch.extend import hookspecs
from microbatch.extend.records import BackendInfo, ContainerInfo, PolicyInfo
from microbatch.loading.admission import admit, manager_name, unmarked_hooks
from microbatch.loading.discovery import DiscoveredPlugin
from microbatch.loading.validation import faults

__all__ = ["Observer", "Offer", "Registry", "clash", "clash_remedy"]

Info = TypeVar("Info", BackendInfo, PolicyInfo, ContainerInfo)


@dataclass(frozen=True, slots=True)
class Offer(Generic[Info]):
    """One announced record, and the plugin it came from."""

    info: Info
    """The record."""
    source: DiscoveredPlugin
    """The plugin."""


@dataclass(frozen=True, slots=True)
class Observer:
    """One implementation of `microbatch_step_finished`."""

    call: Callable[..., object]
    """The function, to be called with the names in `arguments`."""
    arguments: tuple[str, ...]
    """The arguments it takes: `("report",)` or none."""
    source: DiscoveredPlugin
    """The plugin."""


@dataclass(slots=True)
class Registry:
    """Everything announced by `found`; made once, complete when the constructor returns."""

    found: tuple[DiscoveredPlugin, ...]
    """All plugins, the blocked and broken ones too."""
    backends: dict[str, list[Offer[BackendInfo]]] = field(init=False, default_factory=dict)
    """By name; more than one offer is a clash."""
    policies: dict[str, list[Offer[PolicyInfo]]] = field(init=False, default_factory=dict)
    """By name; more than one offer is a clash."""
    containers: list[Offer[ContainerInfo]] = field(init=False, default_factory=list)
    """In the order announced."""
    observers: list[Observer] = field(init=False, default_factory=list)
    """Who wants to hear of finished steps."""
    problems: dict[DiscoveredPlugin, list[str]] = field(init=False, default_factory=dict)
    """What is wrong with each plugin, as text for the listing and for lookup errors."""
    refused: set[DiscoveredPlugin] = field(init=False, default_factory=set)
    """Plugins of which nothing is used."""
    complained: set[DiscoveredPlugin] = field(init=False, default_factory=set)
    """Plugins whose observer failed, and that a warning told of."""

    def __post_init__(self) -> None:
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        for source in self.found:
            self._admit(manager, source)
        by_name = {manager_name(source): source for source in self.found}

        def implementations(hook: str) -> list[tuple[HookImpl, DiscoveredPlugin]]:
            return _implementations(manager, by_name, hook)

        for backend in self._records(implementations("microbatch_register_backends"), BackendInfo):
            self._file(self.backends, backend)
        for policy in self._records(implementations("microbatch_register_policies"), PolicyInfo):
            self._file(self.policies, policy)
        self.containers += self._records(implementations("microbatch_register_containers"), ContainerInfo)
        for impl, source in implementations("microbatch_step_finished"):
            self.observers.append(Observer(impl.function, tuple(impl.argnames), source))

    def report(self, source: DiscoveredPlugin, problem: str) -> None:
        """Write down what is wrong with a plugin."""
        self.problems.setdefault(source, []).append(problem)

    def only(self, what: str, name: str, known: Mapping[str, Sequence[Offer[Any]]]) -> Offer[Any]:
        """The one offer called `name` of `known`; raises UnknownNameError, PluginConflictError."""
        offers = known.get(name, ())
        if not offers:
            raise UnknownNameError(
                f"no {what} is called {name!r};{near_match(str(name), known)}{self._faults()}"
            )
        if len(offers) > 1:
            raise PluginConflictError(f"{clash(name, what, offers)}; {clash_remedy(offers)}")
        return offers[0]

    def _faults(self) -> str:
        """What is wrong with any plugin, and what is blocked, as the end of an error text; often empty."""
        texts = [f"plugin {source.name!r} ({source.origin}): {text}" for source, text in self._troubles()]
        return f" Plugins not in use: {'; '.join(texts)}." if texts else ""

    def _troubles(self) -> Iterable[tuple[DiscoveredPlugin, str]]:
        for source in self.found:
            if source.blocked:
                yield source, f"blocked by {source.blocked}"
            for text in self.problems.get(source, ()):
                yield source, text

    def _admit(self, manager: pluggy.PluginManager, source: DiscoveredPlugin) -> None:
        problem = admit(manager, source)
        if problem:
            self.report(source, problem)
            self.refused.add(source)
        elif source.plugin is not None:
            for unmarked in unmarked_hooks(source.plugin):
                self.report(source, unmarked)

    def _records(
        self, implementations: Iterable[tuple[HookImpl, DiscoveredPlugin]], kind: type[Info]
    ) -> Iterable[Offer[Info]]:
        """Call each implementation once; yield the records that are as they must be."""
        for impl, source in implementations:
            try:
                answer: Any = impl.function()
                records = list(answer) if _is_several(answer) else None
            except Exception as error:  # noqa: BLE001 - a hook is a third party's code
                self.report(source, f"{impl.function.__name__} raised {type(error).__name__}: {error}")
                continue
            if records is None:
                self.report(source, _wrong_answer(impl.function.__name__, answer, kind))
                continue
            for record in records:
                problem = faults(record, kind)
                if problem:
                    self.report(source, f"{impl.function.__name__}: {problem}")
                else:
                    yield Offer(record, source)

    def _file(self, names: dict[str, list[Offer[Any]]], offer: Offer[Any]) -> None:
        holders = names.setdefault(offer.info.name, [])
        if any(holder.source.builtin for holder in holders) and not offer.source.builtin:
            self.report(offer.source, f"{offer.info.name!r} is reserved: it comes with microbatch itself")
        elif all(holder.info != offer.info or holder.source != offer.source for holder in holders):
            holders.append(offer)


def clash(name: str, what: str, offers: Sequence[Offer[Any]]) -> str:
    """Who announces the same name, with versions; empty for a single offer."""
    if len(offers) < 2:
        return ""
    return f"{what} {name!r} is announced by {' and by '.join(offer.source.origin for offer in offers)}"


def clash_remedy(offers: Sequence[Offer[Any]]) -> str:
    """How to end a clash."""
    names = " or ".join(sorted({offer.source.distribution or offer.source.name for offer in offers}))
    return f"uninstall one of them, or set MICROBATCH_DISABLE_PLUGINS to {names}"


def _implementations(
    manager: pluggy.PluginManager, by_name: Mapping[str, DiscoveredPlugin], hook: str
) -> list[tuple[HookImpl, DiscoveredPlugin]]:
    """Implementations of `hook` in the order of discovery; pluggy has them the other way round."""
    known = list(by_name)
    implementations = getattr(manager.hook, hook).get_hookimpls()
    ordered = sorted(implementations, key=lambda impl: known.index(impl.plugin_name))
    return [(impl, by_name[impl.plugin_name]) for impl in ordered]


def _is_several(answer: object) -> bool:
    return isinstance(answer, Iterable) and not isinstance(answer, (str, bytes, Mapping))


def _wrong_answer(hook: str, answer: object, kind: type) -> str:
    forgot = " (was `return` forgotten?)" if answer is None else ""
    return f"{hook} returned {type(answer).__name__}{forgot}; return a sequence of {kind.__name__}"
