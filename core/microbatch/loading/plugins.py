"""Looking up backends and policies by name or by inputs; the one thing the rest of core asks about plugins.

Invariant: a named backend never falls back, and a broken or blocked plugin costs nobody but itself. Plugins
are found, imported and asked once, at the first lookup; from then on all answers are plain objects. Two
threads that come first at the same time may both look, and the first result stays (dictionaries publish with
`setdefault`). Rejected: a manager in a module global, as tests and embedders need one of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from microbatch.errors import BackendUnavailableError, MicrobatchError, PluginError
from microbatch.extend.protocols import Backend, SizingPolicy
from microbatch.extend.records import BackendInfo, StepReport
from microbatch.loading.discovery import DiscoveredPlugin, discover
from microbatch.loading.entry_points import PluginEntry, entry_of, installed
from microbatch.loading.objects import build, load_object
from microbatch.loading.plugin_code import announce_rows, register_container, tell_observers, why_not
from microbatch.loading.registry import Offer, Registry
from microbatch.options.raised import attempted, class_module, class_name, described

if TYPE_CHECKING:  # both cost time that the first wrap of a process need not pay
    from importlib.metadata import EntryPoint

    from microbatch.loading.listings import Listings

Value = TypeVar("Value")


class Plugins:
    """The plugins of one place: installed ones, or those given.

    `entry_points` stand in for the installed ones; `extra` are modules or objects with hook implementations,
    used without being installed; `environment` stands in for `os.environ`.
    """

    __slots__ = ("_backends", "_entry_points", "_environment", "_extra", "_reasons", "_state")

    def __init__(
        self,
        *,
        entry_points: Iterable[EntryPoint] | None = None,
        extra: Sequence[object] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._entry_points = None if entry_points is None else tuple(entry_points)
        self._extra = tuple(extra)
        self._environment = environment
        self._state: dict[str, Registry] = {}
        self._backends: dict[str, Backend] = {}
        self._reasons: dict[str, tuple[str, str]] = {}

    @property
    def registry(self) -> Registry:
        """What the plugins announced; found when first asked."""
        known = self._state.get("registry")
        return known if known is not None else self._state.setdefault("registry", self._discover())

    def backend(self, name: str) -> Backend:
        """The backend called `name`, built when first asked for.

        Raises UnknownNameError, PluginConflictError, BackendUnavailableError (reason and remedy),
        PluginLoadError (cause chained) or PluginError (a member of the protocol is missing).
        """
        known = self._backends.get(name)
        if known is not None:
            return known
        offer = self.registry.only("backend", name, self.registry.backends)
        reason, remedy = self._why_not(offer)
        if reason:
            why = f"{reason}; {remedy}" if remedy else reason
            raise BackendUnavailableError(
                f"backend {name!r} ({offer.source.entry.origin}) cannot run here: {why}"
            )
        return self._build(offer)

    def backend_for(self, leaves: Sequence[object]) -> Backend:
        """The available backend of highest priority that owns one of `leaves`, else `cpu`.

        Backends whose `modules` have no type among the leaves are neither probed nor loaded. One that fails
        to load is passed over when another owns the leaves; if none does, its error is raised.
        """
        modules = {class_module(kind).partition(".")[0] for leaf in leaves for kind in type(leaf).__mro__}
        failure: MicrobatchError | None = None
        for offer in self._candidates(modules):
            try:
                backend = self._owner(offer, leaves)
            except MicrobatchError as error:
                failure = error if failure is None else failure
                continue
            if backend is not None:
                return backend
        if failure is not None:
            raise failure
        return self.backend("cpu")

    @contextmanager
    def lent(self, backend: Backend) -> Iterator[None]:
        """The block in which `backend` is the one of its name, whatever its probe says of this machine."""
        name = backend.name
        built, reason = self._backends.get(name), self._reasons.get(name)
        self._backends[name], self._reasons[name] = backend, ("", "")
        try:
            yield
        finally:
            _put_back(self._backends, name, built)
            _put_back(self._reasons, name, reason)

    def define_operations(self, module: str) -> None:
        """Import what lets the compiler of the framework `module` call yield points; may be repeated.

        Raises BackendUnavailableError where no backend has it.
        """
        offers = [offer for offers in self.registry.backends.values() for offer in offers]
        found = {offer.info.operations for offer in offers if module in offer.info.modules} - {""}
        if not found:
            raise BackendUnavailableError(
                f"no backend lets {module} compile yield points; install microbatch with its backends, or "
                "call them outside of what is compiled"
            )
        for name in sorted(found):
            load_object(name)

    def policy(self, name: str, /, **options: Any) -> SizingPolicy:
        """A new policy called `name`; `options` go to its class. Errors as of `backend`."""
        offer = self.registry.only("policy", name, self.registry.policies)
        what = f"policy {name!r} ({offer.source.entry.origin})"
        return cast("SizingPolicy", build(what, offer.info.load, SizingPolicy, options))

    def listeners(self) -> bool:
        """Whether anybody observes finished steps; asked once per wrapper."""
        return bool(self.registry.observers)

    def step_finished(self, report: StepReport) -> None:
        """Tell the observers. One that raises is a RuntimeWarning, once; the step is not affected."""
        tell_observers(self.registry, report)

    def register_containers(self) -> None:
        """Make the announced containers and types with rows known; may be repeated."""
        for offer in self.registry.containers:
            problem = register_container(offer.info)
            if problem and problem not in self.registry.problems.get(offer.source, ()):
                self.registry.report(offer.source, problem)
        for rows in self.registry.rows:
            announce_rows(rows.info, rows.source.entry.origin)

    def backends(self) -> Listings:
        """Every announced backend, highest priority first; nothing but the probes is run."""
        from microbatch.loading.listing import backend_lines
        from microbatch.loading.listings import Listings

        return Listings(backend_lines(self.registry, self._why_not))

    def policies(self) -> Listings:
        """Every announced policy, by name."""
        from microbatch.loading.listing import policy_lines
        from microbatch.loading.listings import Listings

        return Listings(policy_lines(self.registry))

    def plugins(self) -> Listings:
        """Every plugin, the blocked and the broken ones with their reason."""
        from microbatch.loading.listing import plugin_lines
        from microbatch.loading.listings import Listings

        return Listings(plugin_lines(self.registry))

    def _discover(self) -> Registry:
        environment = os.environ if self._environment is None else self._environment
        points = self._entry_points
        entries = installed() if points is None else tuple(entry_of(point) for point in points)
        given = tuple(DiscoveredPlugin(entry=_entry(plugin), plugin=plugin) for plugin in self._extra)
        return Registry(discover(entries, environment) + given)

    def _candidates(self, modules: set[str]) -> list[Offer[BackendInfo]]:
        """Offers without a clash that may own types of `modules` and can run here, highest priority first."""
        single = [several[0] for several in self.registry.backends.values() if len(several) == 1]
        fitting = [offer for offer in single if not modules.isdisjoint(offer.info.modules)]
        able = [offer for offer in fitting if not self._why_not(offer)[0]]
        return sorted(able, key=lambda offer: (-offer.info.priority, offer.info.name))

    def _why_not(self, offer: Offer[BackendInfo]) -> tuple[str, str]:
        name = offer.info.name
        known = self._reasons.get(name)
        return known if known is not None else self._reasons.setdefault(name, why_not(offer.info))

    def _owner(self, offer: Offer[BackendInfo], leaves: Sequence[object]) -> Backend | None:
        """The backend of `offer` if it owns one of `leaves`; raises PluginError for what `owns` raises."""
        known = self._backends.get(offer.info.name)
        backend = self._build(offer) if known is None else known
        owned, error = attempted(lambda: any(map(backend.owns, leaves)))
        if error is not None:
            what = f"backend {offer.info.name!r} ({offer.source.entry.origin})"
            text = f"{what} raised {described(error)} in owns; update that plugin, or name another backend"
            raise PluginError(text) from error
        return backend if owned else None

    def _build(self, offer: Offer[BackendInfo]) -> Backend:
        info = offer.info
        what = f"backend {info.name!r} ({offer.source.entry.origin})"
        made = build(what, info.load, Backend, {}, info.install)
        return self._backends.setdefault(info.name, cast("Backend", made))


def _put_back(known: dict[str, Value], name: str, value: Value | None) -> None:
    known.pop(name, None)
    if value is not None:
        known[name] = value


_INSTALLED = Plugins()
"""Made while this module is imported, which happens once; of a cached function two threads may get two."""


def default_plugins() -> Plugins:
    """The installed plugins of this process, shared by all wrappers that are given none.

    Backends own streams and pools, so wrappers must share them, and finding plugins takes 5 ms, so it is done
    at the first lookup. Everything also accepts a `Plugins` of its own.
    """
    return _INSTALLED


def backends() -> Listings:
    """Every announced backend: where it comes from, whether it can run here, why not, what to do."""
    return default_plugins().backends()


def policies() -> Listings:
    """Every announced sizing policy."""
    return default_plugins().policies()


def plugins() -> Listings:
    """Every plugin of the entry-point group, the broken ones with their reason."""
    return default_plugins().plugins()


def register_containers(plugins: Plugins | None = None) -> None:
    """Make the announced containers and types with rows known; may be repeated."""
    (plugins or default_plugins()).register_containers()


def _entry(plugin: object) -> PluginEntry:
    """What the entry point of a plugin that was given in code would be."""
    kind = class_name(type(plugin))
    title, _ = attempted(lambda: str.__str__(getattr(plugin, "__name__", kind)))
    return PluginEntry(name=title or kind, target=title or kind)
