"""Which plugins are installed, which of them may run, and what importing each of them gave.

Invariant: a plugin that cannot be imported is kept as a record with its reason; it never stops another plugin and
never stops microbatch. What comes with microbatch cannot be switched off. Rejected:
`PluginManager.load_setuptools_entrypoints`, which lets one failing import take all plugins down and skips the
second of two equal names without a word.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from microbatch.extend.hookspecs import PROJECT

__all__ = ["Found", "Switches", "discover", "installed"]

DISABLE = "MICROBATCH_DISABLE_PLUGINS"
"""Entry-point or distribution names that stay off, joined by commas; `all` or `1` for every third party."""
ALLOW = "MICROBATCH_PLUGINS"
"""When set, the only third parties that may run, joined by commas; empty allows none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """One installed plugin, after the attempt to import it; equal to itself only."""

    name: str
    """Name of the entry point."""
    target: str
    """What the entry point names: `module` or `module:attribute`."""
    distribution: str = ""
    """Distribution it came from; empty for one given in code."""
    version: str = ""
    """Version of that distribution."""
    builtin: bool = False
    """Whether it comes with microbatch itself."""
    plugin: object | None = None
    """The imported module or object; None when it was blocked or failed."""
    blocked: str = ""
    """The environment variable that keeps it off, with its value; empty when it may run."""
    error: BaseException | None = None
    """What importing it raised."""

    @property
    def origin(self) -> str:
        """Distribution and version as users know them, such as `acme-backend 1.2`."""
        return f"{self.distribution} {self.version}".strip() or f"{self.target} (given in code)"


@dataclass(frozen=True, slots=True)
class Switches:
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


def discover(entry_points: Iterable[EntryPoint], environment: Mapping[str, str]) -> tuple[Found, ...]:
    """Import every plugin that may run, what comes with microbatch first, then by distribution and name.

    The order of the import path does not show. Entry points listed twice (an editable install and stale metadata
    of the same version) count once.
    """
    switches = Switches.read(environment)
    found = {_key(point): point for point in entry_points}
    return tuple(_load(found[key], switches) for key in sorted(found))


def installed() -> tuple[EntryPoint, ...]:
    """The entry points of the group `microbatch`; 1-60 ms, growing with the number of distributions."""
    return tuple(importlib.metadata.entry_points(group=PROJECT))


def _key(point: EntryPoint) -> tuple[bool, str, str, str, str]:
    distribution, version = _distribution(point)
    return (_normal(distribution) != PROJECT, _normal(distribution), point.name, point.value, version)


def _load(point: EntryPoint, switches: Switches) -> Found:
    distribution, version = _distribution(point)
    builtin = _normal(distribution) == PROJECT
    blocked = "" if builtin else switches.blocked(point.name, distribution)
    plugin: object | None = None
    error: BaseException | None = None
    if not blocked:
        try:
            plugin = point.load()
        except (Exception, SystemExit) as failure:  # noqa: BLE001 - a plugin may even exit on import
            error = failure
    return Found(
        name=point.name,
        target=point.value,
        distribution=distribution,
        version=version,
        builtin=builtin,
        plugin=plugin,
        blocked=blocked,
        error=error,
    )


def _distribution(point: EntryPoint) -> tuple[str, str]:
    if point.dist is None:
        return "", ""
    return point.dist.name, point.dist.version


def _names(text: str) -> frozenset[str]:
    return frozenset(_normal(part) for part in text.split(",") if part.strip())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
