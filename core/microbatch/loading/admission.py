"""Whether a plugin may take part: its hooks exist, are marked, and take the arguments that are given.

Invariant: of a plugin with one fault nothing is used, so that it never works by halves. Functions that are
named like hooks and lack the marker do not count as such a fault; they are told.
"""

from __future__ import annotations

import inspect

import pluggy

from microbatch.errors import near_match
from microbatch.extend import hookspecs
from microbatch.loading.discovery import DiscoveredPlugin

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("microbatch_"))
"""Names of all hooks."""


def admit(manager: pluggy.PluginManager, source: DiscoveredPlugin) -> str:
    """Register a plugin with pluggy; what is wrong where that cannot be, else empty."""
    if source.plugin is not None:
        return _register(manager, source)
    if source.error is None:
        return "" if source.blocked else "it is None"
    return f"importing {source.entry.target} raised {type(source.error).__name__}: {source.error}"


def manager_name(source: DiscoveredPlugin) -> str:
    """What pluggy calls the plugin; unlike the module's name it says which distribution a fault is of."""
    return f"{source.entry.name} = {source.entry.target} ({source.entry.origin})"


def unmarked_hooks(plugin: object) -> list[str]:
    """What is wrong with functions of the plugin that are named like hooks and that nobody calls."""
    home = getattr(plugin, "__name__", None)
    return [
        _unmarked_text(name)
        for name, value in getattr(plugin, "__dict__", {}).items()
        if name.startswith("microbatch_")
        and inspect.isfunction(value)
        and value.__module__ == home
        and not hasattr(value, "microbatch_impl")
    ]


def _register(manager: pluggy.PluginManager, source: DiscoveredPlugin) -> str:
    if inspect.isclass(source.plugin):
        return f"{source.entry.target} is a class; name a module or an instance"
    if manager.is_registered(source.plugin):
        return f"{source.entry.target} is registered already by another entry point"
    name = manager_name(source)
    try:
        manager.register(source.plugin, name=name)
        problem = _accepted_by_pluggy(manager, name)
    except pluggy.PluginValidationError as error:
        return " ".join(str(error).split())
    except Exception as error:  # noqa: BLE001 - a plugin may be any object
        return f"registering it raised {type(error).__name__}: {error}"
    if problem:
        manager.unregister(name=name)
    return problem


def _accepted_by_pluggy(manager: pluggy.PluginManager, plugin: str) -> str:
    """What pluggy lets through: hooks that do not exist, and wrappers around other plugins' answers."""
    callers = [hook for hook in vars(manager.hook).values() if isinstance(hook, pluggy.HookCaller)]
    impls = [
        (hook.name, impl) for hook in callers for impl in hook.get_hookimpls() if impl.plugin_name == plugin
    ]
    unknown = sorted(name for name, impl in impls if name not in HOOKS and not impl.optionalhook)
    if unknown:
        return "; ".join(f"there is no hook {name!r};{near_match(name, HOOKS)}" for name in unknown)
    for name, impl in impls:
        if name in HOOKS and (impl.wrapper or impl.hookwrapper):
            return f"{name} is a hook wrapper; microbatch takes plain implementations only"
    return ""


def _unmarked_text(name: str) -> str:
    if name in HOOKS:
        return f"{name} is never called; mark it with @microbatch.hookimpl"
    return f"{name} is not a hook and lacks @microbatch.hookimpl;{near_match(name, HOOKS)}"
