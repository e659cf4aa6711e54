"""One line of `microbatch.backends()`, `policies()` and `plugins()`, and how each is made.

Invariant: making a listing imports nothing beyond the light plugin modules, and never raises for what a
plugin did wrong: the fault is in the line's `reason`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from microbatch.extend.records import BackendInfo, PolicyInfo
from microbatch.loading.discovery import DiscoveredPlugin
from microbatch.loading.registry import Offer, Registry, clash, clash_remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One backend, policy or plugin, and whether it can be used here."""

    name: str
    """The name users write; for a plugin, its entry point."""
    kind: Literal["backend", "policy", "plugin"]
    """What it is."""
    summary: str = ""
    """One line about it; for a plugin, what it announces."""
    distribution: str = ""
    """Distribution it came from; empty for one given in code."""
    version: str = ""
    """Version of that distribution."""
    available: bool = True
    """Whether a lookup of the name gives it now."""
    reason: str = ""
    """Why not; for a plugin in use, what is wrong with a part of it."""
    remedy: str = ""
    """What to do about it."""
    priority: int | None = None
    """Order in which `auto` asks backends, highest first; None for the others."""
    source: str = ""
    """`package.module:Class`, or the module of a plugin."""
    plugin: str = ""
    """Entry point that announced it."""
    builtin: bool = False
    """Whether it comes with microbatch itself."""


def policy_lines(registry: Registry) -> Iterator[Listing]:
    """All policies in the order of their names."""
    for name, offers in sorted(registry.policies.items()):
        for offer in offers:
            yield _offered(offer, "policy", reason=clash(name, "policy", offers))


def backend_lines(
    registry: Registry, why_not: Callable[[Offer[BackendInfo]], tuple[str, str]]
) -> Iterator[Listing]:
    """All backends, highest priority first; `why_not` gives (reason, remedy) of one that cannot run here."""
    offers = [offer for several in registry.backends.values() for offer in several]
    for offer in sorted(offers, key=lambda offer: (-offer.info.priority, offer.info.name)):
        rivals = registry.backends[offer.info.name]
        if len(rivals) == 1:
            reason, remedy = why_not(offer)
        else:
            reason, remedy = clash(offer.info.name, "backend", rivals), clash_remedy(rivals)
        yield _offered(offer, "backend", reason=reason, remedy=remedy, priority=offer.info.priority)


def plugin_lines(registry: Registry) -> Iterator[Listing]:
    """All plugins, those that came with microbatch first."""
    for found in registry.found:
        problems = registry.troubles(found)
        yield _line(
            found,
            name=found.entry.name,
            kind="plugin",
            summary=_announced(registry, found),
            available=found not in registry.refused and not found.blocked,
            reason="; ".join(problems),
            remedy=_plugin_remedy(found) if problems else "",
            source=found.entry.target,
        )


def _offered(offer: Offer[Any], kind: str, *, reason: str, **more: Any) -> Listing:
    info: BackendInfo | PolicyInfo = offer.info
    facts = {"name": info.name, "kind": kind, "summary": info.summary, "source": info.load}
    return _line(offer.source, available=not reason, reason=reason, **facts, **more)


def _line(plugin: DiscoveredPlugin, **fields: Any) -> Listing:
    entry = plugin.entry
    return Listing(
        plugin=entry.name,
        distribution=entry.distribution,
        version=entry.version,
        builtin=entry.builtin,
        **fields,
    )


def _announced(registry: Registry, found: DiscoveredPlugin) -> str:
    def named(kind: str, known: Mapping[str, Sequence[Offer[Any]]]) -> list[str]:
        return [
            f"{kind} {name}"
            for name, offers in known.items()
            if any(offer.source is found for offer in offers)
        ]

    return ", ".join(
        [
            *named("backend", registry.backends),
            *named("policy", registry.policies),
            *(f"container {offer.info.type}" for offer in registry.containers if offer.source is found),
            *(f"rows of {offer.info.type}" for offer in registry.rows if offer.source is found),
            *("observer of steps" for _, source in registry.observers if source is found),
        ]
    )


def _plugin_remedy(found: DiscoveredPlugin) -> str:
    if found.blocked:
        return "change that variable to use it"
    return f"repair or update {found.entry.distribution or found.entry.target}"
