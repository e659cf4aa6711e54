"""Which plugins are installed, which of them may run, and what importing each of them gave.

Invariant: a plugin that cannot be imported is kept as a record with its reason; it never stops another plugin
and never stops microbatch. What comes with microbatch cannot be switched off. Rejected:
`PluginManager.load_setuptools_entrypoints`, which lets one failing import take all plugins down and skips the
second of two equal names without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from microbatch.loading.entry_points import PluginEntry
from microbatch.loading.objects import load_object
from microbatch.options.raised import attempted

DISABLE = "MICROBATCH_DISABLE_PLUGINS"
"""Entry-point or distribution names that stay off, joined by commas; `all` or `1` for every third party."""
ALLOW = "MICROBATCH_PLUGINS"
"""When set, the only third parties that may run, joined by commas; empty allows none."""


class DiscoveredPlugin(Struct, frozen=True, kw_only=True, eq=False):
    """One installed plugin, after the attempt to import it; equal to itself only."""

    entry: PluginEntry
    """Its entry point; of a plugin given in code, what would be one."""
    plugin: object | None = None
    """The imported module or object; None when it was blocked or failed."""
    blocked: str = ""
    """The environment variable that keeps it off, with its value; empty when it may run."""
    error: BaseException | None = None
    """What importing it raised."""


class Switches(Struct, frozen=True):
    """The two environment variables that keep third parties off."""

    disabled: frozenset[str] = frozenset()
    """Names that stay off."""
    allowed: frozenset[str] | None = None
    """The only names that may run; None allows all."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Switches:
        """Take both from the environment."""
        allowed = environment.get(ALLOW)
        return cls(_names(environment.get(DISABLE, "")), None if allowed is None else _names(allowed))

    def blocked(self, name: str, distribution: str) -> str:
        """The setting that keeps this third party off, as the user wrote it; empty when it may run."""
        own = {_normal(name), _normal(distribution)}
        if self.disabled & (own | {"all", "1"}):
            return f"{DISABLE}={','.join(sorted(self.disabled))}"
        if self.allowed is not None and not self.allowed & own:
            return f"{ALLOW}={','.join(sorted(self.allowed))}"
        return ""


def discover(entries: Iterable[PluginEntry], environment: Mapping[str, str]) -> tuple[DiscoveredPlugin, ...]:
    """Import every plugin that may run, what comes with microbatch first, then by distribution and name.

    The order of the import path does not show. Entry points listed twice (an editable install and stale
    metadata of the same version) count once.
    """
    switches = Switches.read(environment)
    once = {_key(entry): entry for entry in entries}
    return tuple(_load(once[key], switches) for key in sorted(once))


def _key(entry: PluginEntry) -> tuple[bool, str, str, str, str]:
    return (not entry.builtin, _normal(entry.distribution), entry.name, entry.target, entry.version)


def _load(entry: PluginEntry, switches: Switches) -> DiscoveredPlugin:
    blocked = "" if entry.builtin else switches.blocked(entry.name, entry.distribution)
    if blocked:
        return DiscoveredPlugin(entry=entry, blocked=blocked)
    target = entry.target.partition("[")[0].strip()  # without its extras
    plugin, error = attempted(lambda: load_object(target))  # a plugin may even exit on import
    return DiscoveredPlugin(entry=entry, plugin=plugin, error=error)


def _names(text: str) -> frozenset[str]:
    return frozenset(_normal(part) for part in text.split(",") if part.strip())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
