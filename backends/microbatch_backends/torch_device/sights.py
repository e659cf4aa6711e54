"""What a recorded ubatch calls of torch: collectives, their waits, and waits for a whole device.

Invariant: where the calling code has no track the hooks only call what they stand before. They stay once they
are set, since another thread may be in them. A collective that runs on a stream of its own (NCCL) is seen as
the host sees it: from its start to the return of its wait. One on the host (gloo) ends when its future does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from microbatch.dbo import dbo_enabled
from microbatch.timeline import on_the_way
from microbatch.timeline.track import TRACK
from microbatch.turns.context import AT_COLLECTIVES
from microbatch_backends.torch_device.collectives import STARTING, set_hook

MARK = "__microbatch_sees__"
"""On a function that is a hook of this module."""


def watch_collectives() -> None:
    """See collectives; twice is once."""
    from torch.distributed import distributed_c10d

    set_hook(distributed_c10d.Work, "wait", _waited, MARK)
    for name in STARTING:
        set_hook(distributed_c10d.ProcessGroup, name, partial(_started, name), MARK)


def watch_device() -> None:
    """See waits for a whole device; twice is once."""
    for kind in ("cuda", "xpu"):
        module = sys.modules.get(f"torch.{kind}")
        if module is not None:
            set_hook(module, "synchronize", partial(_device_wide, f"torch.{kind}.synchronize"), MARK)


def _started(name: str, start: Callable[..., Any]) -> Callable[..., Any]:
    def hooked(group: Any, *args: Any, **kwargs: Any) -> Any:
        track = TRACK.get()
        if track is None:
            return start(group, *args, **kwargs)
        at_once = not getattr(args[-1] if args else None, "asyncOp", True)
        blocking = at_once and not (AT_COLLECTIVES.get() and dbo_enabled())
        begin = partial(start, group, *args, **kwargs)
        tell_end = _tell_end if _on_host(args) else _tell_nothing
        return on_the_way.started(track, name.strip("_"), blocking, begin, tell_end)

    return hooked


def _on_host(arguments: Any) -> bool:
    """Whether the first tensor in nested arguments is on the host; so are all others then."""
    while isinstance(arguments, (tuple, list)) and arguments:
        arguments = arguments[0]
    return getattr(getattr(arguments, "device", None), "type", "") == "cpu"


def _tell_end(work: Any, call: Callable[[], None]) -> None:
    """Have `call` called when a collective on the host has ended: a thread of the group does it."""
    try:
        work.get_future().add_done_callback(lambda _: call())
    except (AttributeError, RuntimeError):  # none to wait for, or a group whose collectives have no future
        pass


def _tell_nothing(work: Any, call: Callable[[], None]) -> None:
    """The future of a collective on a device ends when it is launched."""


def _waited(wait: Callable[..., Any]) -> Callable[..., Any]:
    def hooked(work: Any, *args: Any, **kwargs: Any) -> Any:
        track = TRACK.get()
        if track is None:
            return wait(work, *args, **kwargs)
        return on_the_way.waited(track, work, partial(wait, work, *args, **kwargs))

    return hooked


def _device_wide(name: str, synchronize: Callable[..., Any]) -> Callable[..., Any]:
    def hooked(*args: Any, **kwargs: Any) -> Any:
        track = TRACK.get()
        if track is None:
            return synchronize(*args, **kwargs)
        with track.phase("wait", name, on_the_way.DEVICE_WIDE):
            return synchronize(*args, **kwargs)

    return hooked
