"""Code of plugins that is called after they were asked what they announce: probes, containers, observers.

Invariant: never raises. What plugin code raises, or answers wrongly, becomes a text about that plugin. It
costs neither the step nor another plugin anything. No framework and no container's module is imported here.
"""

from __future__ import annotations

import contextlib
import sys
from importlib.util import find_spec
from typing import Any

import optree

from microbatch.errors import warn
from microbatch.extend.hookspecs import PROJECT
from microbatch.extend.records import BackendInfo, ContainerInfo, StepReport
from microbatch.loading.registry import Registry


def why_not(info: BackendInfo) -> tuple[str, str]:
    """(reason, remedy) of a backend that cannot run here, both empty when it can.

    A hint that says `pip install` is a remedy only where a module of the backend is missing: with CuPy there
    and no driver it would be wrong advice.
    """
    try:
        answer: object = info.probe()
    except Exception as error:  # noqa: BLE001 - a probe is a third party's code
        return f"its probe raised {type(error).__name__}: {error}", ""
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
    unflatten: Any = info.unflatten  # optree types it narrower than it calls it
    if found is None:
        return ""
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
        if optree.register_pytree_node.get(found, namespace=PROJECT) is None:
            optree.register_pytree_node(found, info.flatten, unflatten, namespace=PROJECT)
    except Exception as error:  # noqa: BLE001 - missing name, not a class, taken meanwhile by another thread
        return f"container {info.type} cannot be registered: {type(error).__name__}: {error}"
    return ""


def tell_observers(registry: Registry, report: StepReport) -> None:
    """Call every observer with `report`, or with nothing where it takes nothing.

    Each is complained of once, so that one that fails in every step does not fill a log.
    """
    for impl, source in registry.observers:
        try:
            impl.function(*[report for _ in impl.argnames])
        except Exception as error:  # noqa: BLE001 - the step is done and must reach its caller
            if source in registry.complained:
                continue
            registry.complained.add(source)
            problem = f"microbatch_step_finished raised {type(error).__name__}: {error}"
            registry.report(source, problem)
            with contextlib.suppress(RuntimeWarning):  # where warnings are errors
                warn(f"plugin {source.entry.name!r} ({source.entry.origin}): {problem}", RuntimeWarning)


def _importable(module: str) -> bool:
    if module in sys.modules:
        return True
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
