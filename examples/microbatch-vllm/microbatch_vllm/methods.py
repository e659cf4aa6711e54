"""The methods that stand in for vLLM's, and the slot for receive hooks.

Invariant: a context acts through its place, which knows vLLM's module and the step, but never the context:
that would be a cycle, and keep the arrays of a step until garbage is collected.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

from microbatch.errors import ThreadStateError
from microbatch_vllm.place import Place
from microbatch_vllm.ring import limit_of_waits
from microbatch_vllm.start_line import step_of


def methods_for(module: ModuleType, original_init: Callable[..., None]) -> dict[str, Any]:
    """Name to what replaces it in the `UBatchContext` of `module`. Waits have the limit configured now."""
    limit = limit_of_waits()

    @wraps(original_init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        place = self._microbatch_place = Place(module)  # before vLLM's own, which empties the slot for hooks
        original_init(self, *args, **kwargs)
        place.join(self.id, step_of(self.ready_barrier, self.id, limit))

    return {
        "__init__": __init__,
        "__enter__": enter,
        "__exit__": leave,
        "_cpu_yield": hand_over_for(module.forward_context),
        "recv_hook": property(pending_hook, leave_hook),
    }


def enter(self: Any) -> Any:
    """As vLLM's `__enter__`: returns with the turn, on the compute stream."""
    self._microbatch_place.enter(self)
    return self


def leave(self: Any, kind: Any, error: BaseException | None, trace: Any) -> bool:
    """As vLLM's `__exit__`, and returns only when every ubatch of the step has come to its end.

    Raises UBatchCancelled where a sibling fails, so that no runner takes some ubatches for the whole batch.
    """
    if error is None:
        self._microbatch_place.finish(self)
    else:
        self._microbatch_place.fail(self, error)
    return False


def hand_over_for(globals_of_vllm: Any) -> Callable[[Any], None]:
    """What replaces `_cpu_yield`: vLLM's global of the forward context is that of whoever has the turn.

    One function, since each further call costs a hand-off 0.3 us. vLLM also looks at the current stream here;
    all that calls this has looked at it just before.
    """

    def hand_over(self: Any) -> None:
        if globals_of_vllm._forward_context is not self.forward_context:
            raise ThreadStateError(
                f"ubatch {self.id} came to a yield point with a forward context that is not its own; "
                "put back before the yield what the model has set"
            )
        try:
            self._microbatch_place.pass_turn(self.id)
        except BaseException as error:
            self._microbatch_place.not_returned(self, error)
            raise
        globals_of_vllm._forward_context = self.forward_context

    return hand_over


def pending_hook(self: Any) -> Callable[[], None] | None:
    """What runs all that siblings left here, or None; read by vLLM's `maybe_run_recv_hook`."""
    place: Place = self._microbatch_place
    return place.run_hooks if place.hooks else None


def leave_hook(self: Any, hook: Callable[[], Any] | None) -> None:
    """Leave `hook` here, behind those that wait already; run it at once where the ubatch has finished."""
    self._microbatch_place.leave_hook(hook)
