"""Ray Data: a class or a function whose calls run as micro-batches in each actor.

    from microbatch_integrations.ray import actor
    actors = ray.data.ActorPoolStrategy(size=2)
    vectors = texts.map_batches(actor(Embed, memory_limit="40%"), batch_size=None, compute=actors)

Invariant: the object is made and wrapped in the actor, once, so nothing of it travels, and what was learned
of sizes serves all of its blocks. A block of any size is cut to what fits there; where memory runs out, only
the part is run again. What the actor was not given it does not take: its parts run on as many threads as it
has CPUs, within the memory that was reserved for it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import microbatch
from microbatch.errors import ArgumentTypeError


def actor(target: Callable[..., Any], **options: Any) -> type[Any]:
    """A class for `map_batches`, of `target`: a class, or a function of a batch.

    A class is made in the actor, with what `fn_constructor_args` and `fn_constructor_kwargs` say, and its
    `__call__` is given batches. `options` are those of `microbatch.wrap`, checked here and not in an actor an
    hour later; with `progress=True` Ray's logs have a line at each tenth of a block. A function that is
    wrapped already keeps its own options. Raises what `wrap` raises, as for functions that yield or await
    their batches; ArgumentTypeError for a class whose objects cannot be called.
    """
    called = _called(target)
    wrapped = isinstance(called, microbatch.UBatchWrapper)
    if wrapped and options:
        names = ", ".join(options)
        raise ArgumentTypeError(f"{_name(target)} is wrapped already; leave the options {names} out")
    if not wrapped:  # what `wrap` refuses is refused here; only a backend need not be on this machine
        microbatch.wrap(called, **{name: value for name, value in options.items() if name != "backend"})

    class Actor(_Actor):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made = target(*args, **kwargs) if isinstance(target, type) else target
            super().__init__(made, None if wrapped else options)

    Actor.__name__ = Actor.__qualname__ = _name(target)  # Ray shows it in plans, bars and logs
    Actor.__doc__ = target.__doc__
    return Actor


class _Actor:
    """What lives in an actor; pickled as a reference to this module, so workers need it installed."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any] | None) -> None:
        """With None for `options` the function is wrapped already. Raises what `wrap` raises."""
        context = _context()
        if context is not None:
            _tell_ray()
        self.wrapped = function
        if options is not None:
            given = options if context is None else {**_given(context, options), **options}
            if given.get("progress") is True:
                given = {**given, "progress": _Lines()}
            self.wrapped = microbatch.wrap(function, **given)

    def __call__(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        """What the function returns for the block, whatever its size."""
        return self.wrapped(batch, *args, **kwargs)


class _Lines:
    """A line at each tenth of a block."""

    def __init__(self) -> None:
        self._tenth = 0

    def __call__(self, done: int, total: int) -> None:
        """For `progress=`."""
        tenth = 10 * done // max(1, total)
        if tenth != self._tenth:
            logging.getLogger("microbatch").info("%d of %d rows of a block", done, total)
        self._tenth = tenth % 10


def _tell_ray() -> None:
    """Have what microbatch tells (retries, refused cuts, lost time) go where Ray Data's own lines go."""
    ours, rays = logging.getLogger("microbatch"), logging.getLogger("ray.data")
    if ours.level == logging.NOTSET:
        ours.setLevel(logging.INFO)
    for handler in rays.handlers:
        if handler not in ours.handlers:
            ours.addHandler(handler)


def _context() -> Any:
    """What Ray knows of the actor that this is; None outside of one."""
    ray: Any = sys.modules.get("ray")
    if ray is None or not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    return ray.get_runtime_context()


def _given(context: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Threads and memory as Ray has given them to this actor.

    Ubatches that take turns have a thread each, of which one runs, so these stay as they are. Memory that Ray
    reserves is the host's, so it limits no GPU.
    """
    given = context.get_assigned_resources()
    found: dict[str, Any] = {}
    if given.get("CPU") and options.get("schedule") != "pingpong":
        found["thread_pool_size"] = max(1, int(given["CPU"]))
    if given.get("memory") and not given.get("GPU"):
        found["memory_limit"] = int(given["memory"])
    return found


def _called(target: Any) -> Any:
    """What runs for a batch: the function, or `__call__` of the class. Raises ArgumentTypeError for none."""
    kind = target if isinstance(target, type) else type(target)
    # not by getattr: every class can be called, as its objects are made so
    calls = [vars(base)["__call__"] for base in kind.__mro__ if "__call__" in vars(base)]
    if not isinstance(target, type):
        return calls[0] if calls and isinstance(calls[0], microbatch.UBatchWrapper) else target
    if not calls:
        raise ArgumentTypeError(
            f"objects of class {target.__name__} cannot be called; give it a __call__(batch)"
        )
    return calls[0]


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", type(target).__name__))
