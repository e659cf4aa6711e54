"""What the plugins announce: their hooks checked, called once, and their records checked one by one.

Invariant: a fault of one plugin is written down against that plugin and costs the others nothing. Records
that leave here have the types their fields declare and this contract's number. Names of what comes with
microbatch are reserved: a third party that announces one is refused (it could otherwise take the place of
`cpu` or of the default policy unseen). Two third parties with one name are both kept, and looking that name
up is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from pluggy import HookImpl

from microbatch.errors import PluginConflictError, UnknownNameError, near_match
from microbatch.extend.records import BackendInfo, ContainerInfo, PolicyInfo, RowsInfo
from microbatch.loading.admission import admit, unmarked_hooks
from microbatch.loading.discovery import DiscoveredPlugin
from microbatch.loading.validation import faults
from microbatch.options.field_words import backend_meant
from microbatch.options.raised import attempted, described

Info = TypeVar("Info", BackendInfo, PolicyInfo, ContainerInfo, RowsInfo)


@dataclass(frozen=True, slots=True)
class Offer(Generic[Info]):
    """One announced record, and the plugin it came from."""

    info: Info
    """The record."""
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
    rows: list[Offer[RowsInfo]] = field(init=False, default_factory=list)
    """In the order announced."""
    observers: list[tuple[HookImpl, DiscoveredPlugin]] = field(init=False, default_factory=list)
    """Who wants to hear of finished steps: implementations of `microbatch_step_finished`."""
    problems: dict[DiscoveredPlugin, list[str]] = field(init=False, default_factory=dict)
    """What is wrong with each plugin, as text for the listing and for lookup errors."""
    refused: set[DiscoveredPlugin] = field(init=False, default_factory=set)
    """Plugins of which nothing is used."""
    _hooks: dict[DiscoveredPlugin, Mapping[str, HookImpl]] = field(init=False, default_factory=dict)
    complained: set[DiscoveredPlugin] = field(init=False, default_factory=set)
    """Plugins whose observer failed, and that a warning told of."""

    def __post_init__(self) -> None:
        for source in self.found:
            self._admit(source)
        for backend in self._records("microbatch_register_backends", BackendInfo):
            self._file(self.backends, backend)
        for policy in self._records("microbatch_register_policies", PolicyInfo):
            self._file(self.policies, policy)
        self.containers += self._records("microbatch_register_containers", ContainerInfo)
        self.rows += self._records("microbatch_register_rows", RowsInfo)
        self.observers += self._implementations("microbatch_step_finished")

    def report(self, source: DiscoveredPlugin, problem: str) -> None:
        """Write down what is wrong with a plugin."""
        self.problems.setdefault(source, []).append(problem)

    def only(self, what: str, name: str, known: Mapping[str, Sequence[Offer[Any]]]) -> Offer[Any]:
        """The one offer called `name` of `known`; raises UnknownNameError, PluginConflictError."""
        offers = known.get(name, ())
        if not offers:
            raise UnknownNameError(
                f"no {what} is called {name!r};{_hint(what, str(name), known)}{self._faults()}"
            )
        if len(offers) > 1:
            raise PluginConflictError(f"{clash(name, what, offers)}; {clash_remedy(offers)}")
        return offers[0]

    def troubles(self, source: DiscoveredPlugin) -> list[str]:
        """What is wrong with a plugin, or keeps it off; often empty."""
        blocked = [f"blocked by {source.blocked}"] if source.blocked else []
        return blocked + self.problems.get(source, [])

    def _faults(self) -> str:
        """What is wrong with any plugin, as the end of an error text; often empty."""
        texts = [
            f"plugin {source.entry.name!r} ({source.entry.origin}): {text}"
            for source in self.found
            for text in self.troubles(source)
        ]
        return f" Plugins not in use: {'; '.join(texts)}." if texts else ""

    def _admit(self, source: DiscoveredPlugin) -> None:
        admitted = [earlier for earlier in self._hooks if earlier not in self.refused]
        self._hooks[source], problem = admit(source, admitted)
        if problem:
            self.report(source, problem)
            self.refused.add(source)
        elif source.plugin is not None:
            for unmarked in unmarked_hooks(source.plugin):
                self.report(source, unmarked)

    def _implementations(self, hook: str) -> list[tuple[HookImpl, DiscoveredPlugin]]:
        """Implementations of `hook` in the order of discovery."""
        return [(impls[hook], source) for source, impls in self._hooks.items() if hook in impls]

    def _records(self, hook: str, kind: type[Info]) -> Iterable[Offer[Info]]:
        """Call each implementation once; yield the records that are as they must be."""
        for impl, source in self._implementations(hook):
            records, error = attempted(partial(_announced, impl, hook, kind))
            if error is not None:
                self.report(source, f"{hook} raised {described(error)}")
            for record, problem in records or ():
                if problem:
                    self.report(source, problem)
                else:
                    yield Offer(record, source)

    def _file(self, names: dict[str, list[Offer[Any]]], offer: Offer[Any]) -> None:
        holders = names.setdefault(offer.info.name, [])
        if any(holder.source.entry.builtin for holder in holders) and not offer.source.entry.builtin:
            self.report(offer.source, f"{offer.info.name!r} is reserved: it comes with microbatch itself")
        elif not any(holder.source is offer.source and holder.info == offer.info for holder in holders):
            holders.append(offer)


def _hint(what: str, name: str, known: Iterable[str]) -> str:
    """What was probably meant: by a word for a device, or by a slip."""
    return (backend_meant(name) if what == "backend" else "") or near_match(name, known)


def clash(name: str, what: str, offers: Sequence[Offer[Any]]) -> str:
    """Who announces the same name, with versions; empty for a single offer."""
    if len(offers) < 2:
        return ""
    return f"{what} {name!r} is announced by {' and by '.join(offer.source.entry.origin for offer in offers)}"


def clash_remedy(offers: Sequence[Offer[Any]]) -> str:
    """How to end a clash."""
    names = " or ".join(
        sorted({offer.source.entry.distribution or offer.source.entry.name for offer in offers})
    )
    return f"uninstall one of them, or set MICROBATCH_DISABLE_PLUGINS to {names}"


def _announced(impl: HookImpl, hook: str, kind: type[Any]) -> list[tuple[Any, str]]:
    """What one implementation announces, each with what is wrong with it, which is often empty."""
    answer: Any = impl.function()
    if not isinstance(answer, Iterable) or isinstance(answer, (str, bytes, Mapping)):
        return [(answer, _wrong_answer(hook, answer, kind))]
    found = [(record, faults(record, kind)) for record in answer]
    return [(record, f"{hook}: {fault}" if fault else "") for record, fault in found]


def _wrong_answer(hook: str, answer: object, kind: type) -> str:
    forgot = " (was `return` forgotten?)" if answer is None else ""
    return f"{hook} returned {type(answer).__name__}{forgot}; return a sequence of {kind.__name__}"
