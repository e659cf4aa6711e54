"""The place of one context in its step, and vLLM's tables, kept as vLLM keeps them.

Invariant: a thread is in vLLM's tables from its entry until it is gone, and a slot is emptied by the last to
go: a sibling finds a context to leave a hook with as long as it runs. Hooks are a queue, none overwrites
another; a ubatch that has finished will not come to run one, so a hook left for it runs at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

from microbatch_vllm.ring import Step


class Place:
    """Where one context stands; its methods get the context and never keep it."""

    __slots__ = ("_index", "_module", "finished", "hooks", "pass_turn", "step")

    step: Step
    pass_turn: Callable[[int], None]
    """Passes the turn of a ubatch; returns when it is back."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._index = 0
        self.finished = False
        """Whether its model call has returned or raised."""
        self.hooks: deque[Callable[[], Any]] = deque()
        """What siblings left to be called, oldest first."""

    def join(self, index: int, step: Step) -> None:
        """Become ubatch `index` of `step`."""
        self._index, self.step, self.pass_turn = index, step, step.pass_turn

    def enter(self, context: Any) -> None:
        """Come to the start line, and return with the turn; an error there is one of the step."""
        self._module._THREAD_ID_TO_CONTEXT[threading.get_ident()] = self._index
        self._module._CURRENT_CONTEXTS[self._index] = context
        try:
            self.step.start(self._index, context.ready_barrier, context.cpu_wait_event)
            context._restore_context()
            context.update_stream(context.compute_stream)
        except BaseException as error:
            self.fail(context, error)
            raise

    def not_returned(self, context: Any, error: BaseException) -> None:
        """The turn did not come back, but `error` did."""
        self.step.not_returned(self._index, error)
        if self.step.has_turn(self._index):
            context._restore_context()  # for the code that unwinds

    def finish(self, context: Any) -> None:
        """Run what was left here, and wait until every sibling has come to its end; raises if one fails."""
        try:
            context.maybe_run_recv_hook()
            self.finished = True
            self.step.finish(self._index)
        except BaseException as error:
            self.fail(context, error)
            raise
        self._go()

    def fail(self, context: Any, error: BaseException) -> None:
        """Leave the step because of `error`; returns when the first error was handed to the runner."""
        self.finished = True
        try:
            self.step.fail(self._index, error)
        finally:
            self._go()

    def run_hooks(self) -> None:
        """Run what siblings left here, oldest first."""
        while self.hooks:
            self.hooks.popleft()()

    def leave_hook(self, hook: Callable[[], Any] | None) -> None:
        """Take `hook`; None empties the slot."""
        if hook is None:
            self.hooks.clear()
        elif self.finished:
            hook()
        else:
            self.hooks.append(hook)

    def _go(self) -> None:
        """Take the thread out of vLLM's tables; the last one to go empties the slots of this step."""
        self._module._THREAD_ID_TO_CONTEXT.pop(threading.get_ident(), None)
        if not self.step.go():
            return
        slots = self._module._CURRENT_CONTEXTS
        for index, context in enumerate(slots):
            if context is not None and context._microbatch_place.step is self.step:
                slots[index] = None
