"""Code of plugins that is called after they were asked what they announce: probes, containers, observers.

Invariant: never raises. What plugin code raises, or answers wrongly, becomes a text about that plugin. It
costs neither the step nor another plugin anything. No framework and no container's module is imported here.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from functools import partial, reduce
from importlib.util import find_spec
from typing import Any

import optree

from microbatch.errors import PluginError, warn
from microbatch.extend.hookspecs import PROJECT
from microbatch.extend.records import BackendInfo, ContainerInfo, StepReport
from microbatch.loading.registry import Registry
from microbatch.options.raised import attempted, described


def why_not(info: BackendInfo) -> tuple[str, str]:
    """(reason, remedy) of a backend that cannot run here, both empty when it can.

    A hint that says `pip install` is a remedy only where a module of the backend is missing: with CuPy there
    and no driver it would be wrong advice.
    """
    answer: object
    answer, error = attempted(info.probe)
    if error is not None:
        return f"its probe raised {described(error)}", ""
    if answer is None:
        return "", ""
    if not isinstance(answer, str):
        return f"its probe returned {type(answer).__name__}, not None or a reason", ""
    installed = bool(info.modules) and all(map(_importable, info.modules))
    pointless = installed and "pip install" in info.install
    return answer or "its probe gave no reason", "" if pointless else info.install


def register_container(info: ContainerInfo) -> str:
    """Make a container known to optree, so that its leaves are cut and put together; what is wrong, or empty.

    Done once the container's module was imported by somebody else, and once only, however often it is asked.
    """
    module, _, attribute = info.type.partition(":")
    found: Any = sys.modules.get(module)
    if found is None:
        return ""
    # a missing name, no class, a name that another thread has taken meanwhile
    _, error = attempted(lambda: _register(info, reduce(getattr, attribute.split("."), found)))
    return "" if error is None else f"container {info.type} cannot be registered: {described(error)}"


def tell_observers(registry: Registry, report: StepReport) -> None:
    """Call every observer with `report`, or with nothing where it takes nothing.

    Each is complained of once, so that one that fails in every step does not fill a log.
    """
    for impl, source in registry.observers:
        told = partial(impl.function, *[report for _ in impl.argnames])
        _, error = attempted(told)  # the step is done and must reach its caller
        if error is not None and source not in registry.complained:
            registry.complained.add(source)
            problem = f"microbatch_step_finished raised {described(error)}"
            registry.report(source, problem)
            with contextlib.suppress(RuntimeWarning):  # where warnings are errors
                warn(f"plugin {source.entry.name!r} ({source.entry.origin}): {problem}", RuntimeWarning)


def _register(info: ContainerInfo, container: Any) -> None:
    """Tell optree of the class, unless it knows it."""
    if optree.register_pytree_node.get(container, namespace=PROJECT) is None:
        flatten = _no_exit(f"flatten of the container {info.type}", info.flatten)
        unflatten: Any = _no_exit(f"unflatten of the container {info.type}", info.unflatten)
        optree.register_pytree_node(container, flatten, unflatten, namespace=PROJECT)


def _no_exit(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, where only an Exception or Ctrl-C gets out: it is called in the middle of a step."""

    def call(*given: Any) -> Any:
        try:
            return function(*given)
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise PluginError(f"{what} raised {described(error)}; repair that plugin") from error

    return call


def _importable(module: str) -> bool:
    if module in sys.modules:
        return True
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
