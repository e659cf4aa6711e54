"""What there is: backends, policies and plugins, where each comes from and whether it can run here."""

from __future__ import annotations

from microbatch.loading.plugins import Listing, default_plugins

__all__ = ["backends", "plugins", "policies"]


def backends() -> tuple[Listing, ...]:
    """Every announced backend: name, distribution and version, whether it can run here, why not, what to do."""
    return default_plugins().backends()


def policies() -> tuple[Listing, ...]:
    """Every announced sizing policy."""
    return default_plugins().policies()


def plugins() -> tuple[Listing, ...]:
    """Every plugin of the entry-point group, the broken ones with their reason."""
    return default_plugins().plugins()
