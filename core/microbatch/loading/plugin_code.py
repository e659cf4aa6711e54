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
from typing import Any, cast

import optree
from msgspec import Struct

from microbatch.arrays.announced import Announcement
from microbatch.arrays.containers import CONTAINERS, WayOf
from microbatch.arrays.records import Way, record_way
from microbatch.arrays.row_types import ROWS, MakeRows, Unloadable
from microbatch.errors import PluginError, warn
from microbatch.extend.hookspecs import PROJECT
from microbatch.extend.protocols import Rows
from microbatch.extend.records import BackendInfo, ContainerInfo, RowsInfo, StepReport
from microbatch.loading.objects import build
from microbatch.loading.registry import Registry
from microbatch.options.raised import attempted, described, text_of


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

    Done at once where the container's module was imported by somebody else, else when its first object is
    met; and once only, however often it is asked.
    """
    announced: Announcement[WayOf] = Announcement(
        type=info.type, what=_WayOf(info), subclasses=info.subclasses
    )
    CONTAINERS.announce([announced])
    module, _, attribute = info.type.partition(":")
    found: Any = sys.modules.get(module)
    if found is None:
        return ""
    # a missing name, no class, a name that another thread has taken meanwhile
    _, error = attempted(lambda: _register(info, reduce(getattr, attribute.split("."), found)))
    return "" if error is None else f"container {info.type} cannot be registered: {described(error)}"


def announce_rows(info: RowsInfo, origin: str) -> None:
    """Make a type with rows known; what takes and joins them is loaded when the first one is met."""
    load: MakeRows = _Loaded(info, origin)
    ROWS.announce([Announcement(type=info.type, what=load, subclasses=True)])


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


class _WayOf(Struct, frozen=True):
    """Says how the objects of an announced container are opened; equal for an equal announcement."""

    info: ContainerInfo
    """What was announced."""

    def __call__(self, container: type) -> Way | None:
        """By its own functions, else by the attributes that they store."""
        info = self.info
        if info.flatten is None or info.unflatten is None:
            return record_way(container)
        unflatten: Any = _no_exit(f"unflatten of the container {info.type}", info.unflatten)
        return Way(_no_exit(f"flatten of the container {info.type}", info.flatten), unflatten)


class _Loaded(Struct, frozen=True):
    """Loads what takes and joins the rows of a type; equal for an equal announcement."""

    info: RowsInfo
    """What was announced."""
    origin: str
    """By whom."""

    def __call__(self) -> Rows:
        """The `Rows`; where they cannot be had, such as say why each object of the type is refused."""
        info = self.info
        what = f"rows of {info.type} ({self.origin})"
        made, error = attempted(lambda: build(what, info.load, Rows, {}, info.install))
        return cast("Rows", made) if error is None else Unloadable(text_of(error))


def _register(info: ContainerInfo, container: Any) -> None:
    """Tell optree of the class, unless it knows it."""
    if optree.register_pytree_node.get(container, namespace=PROJECT) is None:
        way = _WayOf(info)(container)
        if way is None:
            raise PluginError("its objects cannot be made from attributes; give flatten and unflatten")
        optree.register_pytree_node(container, way.flatten, way.unflatten, namespace=PROJECT)  # type: ignore[arg-type]


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
