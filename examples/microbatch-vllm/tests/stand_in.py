"""A stand-in for vLLM's module of contexts, written from what is known of its interface; streams are names.

Invariant: the four methods that the plugin replaces raise here, so a step that runs has run on ours. All else
behaves as vLLM's does: process-wide tables keyed by thread, a slot for one receive hook, a forward context
that is one global variable.
"""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

THREAD = threading.local()
forward_context = SimpleNamespace(_forward_context=None)
_THREAD_ID_TO_CONTEXT: dict[int, int] = {}
_CURRENT_CONTEXTS: list[Any] = []
_NUM_UBATCHES = 2


def current_stream() -> str:
    return getattr(THREAD, "stream", "default")


class UBatchContext:
    def __init__(
        self,
        id: int,
        comm_stream: str,
        compute_stream: str,
        forward_context: object,
        ready_barrier: threading.Barrier,
        cpu_wait_event: threading.Event,
        cpu_signal_event: threading.Event,
    ) -> None:
        self.id = id
        self.streams = (compute_stream, comm_stream)
        self.compute_stream = self.current_stream = compute_stream
        self.forward_context = forward_context
        self.ready_barrier = ready_barrier
        self.cpu_wait_event, self.cpu_signal_event = cpu_wait_event, cpu_signal_event
        self.recv_hook: Any = None

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, *_: object) -> bool:
        raise NotImplementedError

    def _cpu_yield(self) -> None:
        raise NotImplementedError

    def _restore_context(self) -> None:
        forward_context._forward_context = self.forward_context

    def update_stream(self, stream: str) -> None:
        self.current_stream = THREAD.stream = stream

    def maybe_run_recv_hook(self) -> None:
        hook = self.recv_hook
        if hook is not None:
            hook()
            self.recv_hook = None

    def yield_(self) -> None:
        self.current_stream = current_stream()
        self._cpu_yield()
        self.update_stream(self.current_stream)

    def yield_and_switch(self, to: int) -> None:
        self._cpu_yield()
        self.update_stream(self.streams[to])


def mine() -> Any:
    return _CURRENT_CONTEXTS[_THREAD_ID_TO_CONTEXT[threading.get_ident()]]


def dbo_enabled() -> bool:
    return bool(_THREAD_ID_TO_CONTEXT)


def dbo_current_ubatch_id() -> int:
    return _THREAD_ID_TO_CONTEXT[threading.get_ident()] if dbo_enabled() else 0


def dbo_yield() -> None:
    if dbo_enabled():
        mine().yield_()


def dbo_yield_and_switch_from_compute_to_comm() -> None:
    mine().yield_and_switch(1)


def dbo_yield_and_switch_from_comm_to_compute() -> None:
    mine().yield_and_switch(0)


def dbo_maybe_run_recv_hook() -> None:
    mine().maybe_run_recv_hook()


def dbo_register_recv_hook(hook: Any) -> None:
    _CURRENT_CONTEXTS[(dbo_current_ubatch_id() + 1) % _NUM_UBATCHES].recv_hook = hook


def make_ubatch_contexts(count: int, ready_barrier: threading.Barrier) -> list[Any]:
    global _NUM_UBATCHES
    _NUM_UBATCHES = count
    _CURRENT_CONTEXTS.extend([None] * (count - len(_CURRENT_CONTEXTS)))
    events = [threading.Event() for _ in range(count)]
    return [
        UBatchContext(
            index,
            comm_stream="communication",
            compute_stream="compute",
            forward_context=f"forward context {index}",
            ready_barrier=ready_barrier,
            cpu_wait_event=events[index],
            cpu_signal_event=events[(index + 1) % count],
        )
        for index in range(count)
    ]
