"""Puts our methods into vLLM's class of contexts, and takes them out again.

Invariant: either everything is replaced or nothing. A vLLM of another shape stays as it is, and one line of
the log says so. What was there is kept on the class itself, so `unregister` puts back the very same objects.
Rejected: replacing `make_ubatch_contexts`, which vLLM's runners import by name before or after us.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from microbatch_vllm.methods import methods_for

MODULE = "vllm.v1.worker.ubatching"
KEPT = "_microbatch_replaced"
"""Attribute of vLLM's class that holds what was replaced; it is there while our methods are in place."""
OF_MODULE = (
    "UBatchContext",
    "_THREAD_ID_TO_CONTEXT",
    "_CURRENT_CONTEXTS",
    "forward_context",
    "current_stream",
)
"""Names of the module that our methods read, the class itself among them."""
OF_CLASS = ("__enter__", "__exit__", "_cpu_yield", "_restore_context", "update_stream", "maybe_run_recv_hook")
"""Methods that we replace or call."""
OF_INIT = ("id", "forward_context", "compute_stream", "ready_barrier", "cpu_wait_event")
"""Parameters of a context that we read."""


def register() -> None:
    """Replace the hand-off, unless it is replaced already or has a shape that we do not know.

    The entry point of vLLM's group `vllm.general_plugins`. Raises ConfigError where `barrier_timeout` is set
    to what is no number of seconds; nothing else, since an engine must start without us too.
    """
    module = _imported()
    if module is None or KEPT in vars(getattr(module, "UBatchContext", module)):
        return
    unknown = sorted(_missing(module))
    if unknown:
        _log().warning(
            "microbatch-vllm does nothing: %s has no %s, so its hand-off stays as it is; install a version"
            " of microbatch-vllm made for this vLLM",
            module.__name__,
            ", ".join(unknown),
        )
        return
    _replace(module)


def unregister() -> None:
    """Put back what `register` replaced; nothing where it did nothing. For tests, between two steps."""
    module = _imported()
    kind = getattr(module, "UBatchContext", None)
    if kind is None or KEPT not in vars(kind):
        return
    for name, former in getattr(kind, KEPT).items():
        if former is None:
            delattr(kind, name)
        else:
            setattr(kind, name, former)
    delattr(kind, KEPT)


def _imported() -> ModuleType | None:
    """vLLM's module of contexts, or None, and a line in the log, where it cannot be imported."""
    try:
        return importlib.import_module(MODULE)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, vLLM is the one to say so
        _log().warning("microbatch-vllm does nothing: importing %s raised %r", MODULE, error)
        return None


def _missing(module: ModuleType) -> Iterator[str]:
    """Whatever we need and `module` has not."""
    kind = getattr(module, "UBatchContext", None)
    yield from (name for name in OF_MODULE if not hasattr(module, name))
    if not hasattr(getattr(module, "forward_context", None), "_forward_context"):
        yield "forward_context._forward_context"
    yield from (f"UBatchContext.{name}" for name in OF_CLASS if not callable(getattr(kind, name, None)))
    if isinstance(kind, type):
        known = inspect.signature(kind).parameters
        yield from (f"parameter {name} of UBatchContext" for name in OF_INIT if name not in known)


def _replace(module: ModuleType) -> None:
    kind: Any = module.UBatchContext
    made = methods_for(module, kind.__init__)
    setattr(kind, KEPT, {name: vars(kind).get(name) for name in made})
    for name, method in made.items():
        setattr(kind, name, method)
    _log().info("microbatch-vllm replaced the hand-off of %s.UBatchContext", module.__name__)


def _log() -> logging.Logger:
    """Below vLLM's logger, whose handler shows it."""
    return logging.getLogger("vllm.microbatch")
