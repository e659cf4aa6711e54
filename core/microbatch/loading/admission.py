"""Whether a plugin may take part: its hooks exist, are marked, and take the arguments that are given.

Invariant: of a plugin with one fault nothing is used, so that it never works by halves. Functions that are
named like hooks and lack the marker do not count as such a fault; they are told.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence

import pluggy
from pluggy import HookImpl

from microbatch.errors import near_match
from microbatch.extend import hookspecs
from microbatch.loading.discovery import DiscoveredPlugin
from microbatch.options.raised import attempted, described, is_a, text_of

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("microbatch_"))
"""Names of all hooks."""


Admitted = tuple[Mapping[str, HookImpl], str]
"""The implementations of a plugin by the name of their hook, and what is wrong with it, often empty."""


def admit(source: DiscoveredPlugin, earlier: Iterable[DiscoveredPlugin]) -> Admitted:
    """What a plugin implements, nothing where something is wrong; `earlier` were admitted before.

    Each plugin is registered with a manager of its own: in a shared
    one, pluggy compares every plugin with every other, and one that cannot be compared would cost all.
    """
    if source.error is not None:
        return {}, f"importing {source.entry.target} raised {described(source.error)}"
    if source.plugin is None:
        return {}, "" if source.blocked else "it is None"
    if any(source.plugin is other.plugin for other in earlier):
        return {}, f"{source.entry.target} is registered already by another entry point"
    registered, error = attempted(lambda: _register(source))
    if registered is not None:
        return registered
    assert error is not None
    if is_a(error, pluggy.PluginValidationError):
        return {}, " ".join(text_of(error).split())
    return {}, f"registering it raised {described(error)}"


def unmarked_hooks(plugin: object) -> list[str]:
    """What is wrong with functions of the plugin that are named like hooks and that nobody calls."""
    found, error = attempted(lambda: _unmarked(plugin))
    return [f"looking at it raised {described(error)}"] if error is not None else found or []


def _unmarked(plugin: object) -> list[str]:
    home = getattr(plugin, "__name__", None)
    return [
        _unmarked_text(name)
        for name, value in getattr(plugin, "__dict__", {}).items()
        if name.startswith("microbatch_")
        and inspect.isfunction(value)
        and value.__module__ == home
        and not hasattr(value, "microbatch_impl")
    ]


def _register(source: DiscoveredPlugin) -> Admitted:
    if inspect.isclass(source.plugin):
        return {}, f"{source.entry.target} is a class; name a module or an instance"
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    entry = source.entry  # unlike the module's name this says which distribution a fault is of
    manager.register(source.plugin, name=f"{entry.name} = {entry.target} ({entry.origin})")
    callers = [hook for hook in vars(manager.hook).values() if isinstance(hook, pluggy.HookCaller)]
    impls = [(hook.name, impl) for hook in callers for impl in hook.get_hookimpls()]
    problem = _accepted_by_pluggy(impls)
    return ({} if problem else dict(impls)), problem


def _accepted_by_pluggy(impls: Sequence[tuple[str, HookImpl]]) -> str:
    """What pluggy lets through: hooks that do not exist, and wrappers around other plugins' answers."""
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
