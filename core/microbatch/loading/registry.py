"""What the plugins announce: their hooks checked, called once, and their records checked one by one.

Invariant: a fault of one plugin is written down against that plugin and costs the others nothing. Records that
leave here have the types their fields declare and this contract's number. Names of what comes with microbatch are
reserved: a third party that announces one is refused (it could otherwise take the place of `cpu` or of the
default policy unseen). Two third parties with one name are both kept, and looking that name up is an error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import pluggy
from pluggy import HookImpl

from microbatch.errors import near_match
from microbatch.extend import hookspecs
from microbatch.extend.records import BackendInfo, ContainerInfo, PolicyInfo
from microbatch.loading.discovery import Found
from microbatch.loading.validation import faults

__all__ = ["Observer", "Offer", "Registry"]

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("microbatch_"))

Info = TypeVar("Info", BackendInfo, PolicyInfo, ContainerInfo)


@dataclass(frozen=True, slots=True)
class Offer(Generic[Info]):
    """One announced record, and the plugin it came from."""

    info: Info
    """The record."""
    source: Found
    """The plugin."""


@dataclass(frozen=True, slots=True)
class Observer:
    """One implementation of `microbatch_step_finished`."""

    call: Callable[..., object]
    """The function, to be called with the names in `arguments`."""
    arguments: tuple[str, ...]
    """The arguments it takes: `("report",)` or none."""
    source: Found
    """The plugin."""


@dataclass(slots=True)
class Registry:
    """Everything announced by `found`; made once, complete when the constructor returns."""

    found: tuple[Found, ...]
    """All plugins, the blocked and broken ones too."""
    backends: dict[str, list[Offer[BackendInfo]]] = field(init=False, default_factory=dict)
    """By name; more than one offer is a clash."""
    policies: dict[str, list[Offer[PolicyInfo]]] = field(init=False, default_factory=dict)
    """By name; more than one offer is a clash."""
    containers: list[Offer[ContainerInfo]] = field(init=False, default_factory=list)
    """In the order announced."""
    observers: list[Observer] = field(init=False, default_factory=list)
    """Who wants to hear of finished steps."""
    problems: dict[Found, list[str]] = field(init=False, default_factory=dict)
    """What is wrong with each plugin, as text for the listing and for lookup errors."""
    refused: set[Found] = field(init=False, default_factory=set)
    """Plugins of which nothing is used."""
    complained: set[Found] = field(init=False, default_factory=set)
    """Plugins whose observer failed, and that a warning told of."""

    def __post_init__(self) -> None:
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        for source in self.found:
            self._admit(manager, source)
        by_name = {_manager_name(source): source for source in self.found}

        def implementations(hook: str) -> list[tuple[HookImpl, Found]]:
            return _implementations(manager, by_name, hook)

        for backend in self._records(implementations("microbatch_register_backends"), BackendInfo):
            self._file(self.backends, backend)
        for policy in self._records(implementations("microbatch_register_policies"), PolicyInfo):
            self._file(self.policies, policy)
        self.containers += self._records(implementations("microbatch_register_containers"), ContainerInfo)
        for impl, source in implementations("microbatch_step_finished"):
            self.observers.append(Observer(impl.function, tuple(impl.argnames), source))

    def report(self, source: Found, problem: str) -> None:
        """Write down what is wrong with a plugin."""
        self.problems.setdefault(source, []).append(problem)

    def faults(self) -> str:
        """All that is wrong with any plugin and all that is blocked, as the end of an error text; often empty."""
        texts = [f"plugin {source.name!r} ({source.origin}): {text}" for source, text in self._troubles()]
        return f" Plugins not in use: {'; '.join(texts)}." if texts else ""

    def _troubles(self) -> Iterable[tuple[Found, str]]:
        for source in self.found:
            if source.blocked:
                yield source, f"blocked by {source.blocked}"
            for text in self.problems.get(source, ()):
                yield source, text

    def _admit(self, manager: pluggy.PluginManager, source: Found) -> None:
        """Register a plugin with pluggy, or write down why it cannot be."""
        problem = _import_problem(source) if source.plugin is None else _register(manager, source)
        if problem:
            self.report(source, problem)
            self.refused.add(source)
        elif source.plugin is not None:
            for name in _unmarked(source.plugin):
                self.report(source, _unmarked_text(name))

    def _records(
        self, implementations: Iterable[tuple[HookImpl, Found]], kind: type[Info]
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


def _implementations(
    manager: pluggy.PluginManager, by_name: Mapping[str, Found], hook: str
) -> list[tuple[HookImpl, Found]]:
    """Implementations of `hook` in the order of discovery; pluggy's own order is the reverse of registration."""
    known = list(by_name)
    implementations = getattr(manager.hook, hook).get_hookimpls()
    ordered = sorted(implementations, key=lambda impl: known.index(impl.plugin_name))
    return [(impl, by_name[impl.plugin_name]) for impl in ordered]


def _manager_name(source: Found) -> str:
    return f"{source.name} = {source.target} ({source.origin})"


def _register(manager: pluggy.PluginManager, source: Found) -> str:
    """Register with pluggy and return what is wrong, if anything; a plugin with a fault is not registered."""
    if inspect.isclass(source.plugin):
        return f"{source.target} is a class; name a module or an instance"
    name = _manager_name(source)
    if manager.is_registered(source.plugin):
        return f"{source.target} is registered already by another entry point"
    try:
        manager.register(source.plugin, name=name)
        problem = _pending(manager, name)
    except pluggy.PluginValidationError as error:
        return " ".join(str(error).split())
    except Exception as error:  # noqa: BLE001 - a plugin may be any object
        return f"registering it raised {type(error).__name__}: {error}"
    if problem:
        manager.unregister(name=name)
    return problem


def _pending(manager: pluggy.PluginManager, plugin: str) -> str:
    """What pluggy lets through: hooks that do not exist, and wrappers around other plugins' answers."""
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:
        unknown = sorted(
            impl.function.__name__
            for hook in vars(manager.hook).values()
            if isinstance(hook, pluggy.HookCaller) and not hook.has_spec()
            for impl in hook.get_hookimpls()
            if impl.plugin_name == plugin and not impl.optionalhook
        )
        return "; ".join(f"there is no hook {name!r};{near_match(name, HOOKS)}" for name in unknown)
    for hook in HOOKS:
        for impl in getattr(manager.hook, hook).get_hookimpls():
            if impl.plugin_name == plugin and (impl.wrapper or impl.hookwrapper):
                return f"{hook} is a hook wrapper; microbatch takes plain implementations only"
    return ""


def _unmarked(plugin: object) -> list[str]:
    """Functions of the plugin that are named like hooks and lack the marker, so that nobody calls them."""
    home = getattr(plugin, "__name__", None)
    return [
        name
        for name, value in getattr(plugin, "__dict__", {}).items()
        if name.startswith("microbatch_")
        and inspect.isfunction(value)
        and value.__module__ == home
        and not hasattr(value, "microbatch_impl")
    ]


def _unmarked_text(name: str) -> str:
    if name in HOOKS:
        return f"{name} is never called; mark it with @microbatch.hookimpl"
    return f"{name} is not a hook and lacks @microbatch.hookimpl;{near_match(name, HOOKS)}"


def _import_problem(source: Found) -> str:
    if source.error is None:
        return "" if source.blocked else "it is None"
    return f"importing {source.target} raised {type(source.error).__name__}: {source.error}"


def _is_several(answer: object) -> bool:
    return isinstance(answer, Iterable) and not isinstance(answer, (str, bytes, Mapping))


def _wrong_answer(hook: str, answer: object, kind: type) -> str:
    forgot = " (was `return` forgotten?)" if answer is None else ""
    return f"{hook} returned {type(answer).__name__}{forgot}; return a sequence of {kind.__name__}"
