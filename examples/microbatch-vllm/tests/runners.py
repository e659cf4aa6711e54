"""Runners for the stand-in: threads a step, a barrier, a join without a limit, as vLLM's two runners have.

`second_runner` keeps errors in the order in which threads hand them in and raises the first one, as V2 does;
`first_runner` joins whatever outputs there are, as V1 does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

Body = Callable[[], Any]
Before = Callable[[int], None]


def nothing(_: int) -> None:
    """The set-up of a thread before it enters."""


class StandInRunner:
    """Keeps one barrier for all its steps."""

    def __init__(self, module: Any, count: int) -> None:
        self.module = module
        self.barrier = threading.Barrier(count + 1)
        self.outputs: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}

    def second_runner(self, bodies: Sequence[Body], before: Before = nothing) -> list[Any]:
        self._run(bodies, before)
        if self.errors:
            failed = next(iter(self.errors))
            raise RuntimeError(f"Microbatch {failed} of {len(bodies)} failed") from self.errors[failed]
        return [self.outputs[index] for index in range(len(bodies))]

    def first_runner(self, bodies: Sequence[Body], before: Before = nothing) -> list[Any]:
        self._run(bodies, before)
        return [output for _, output in sorted(self.outputs.items())]

    def _run(self, bodies: Sequence[Body], before: Before) -> None:
        self.outputs, self.errors = {}, {}
        contexts = self.module.make_ubatch_contexts(len(bodies), self.barrier)
        pairs = zip(contexts, bodies, strict=True)
        arguments = [(context, body, before, self.outputs, self.errors) for context, body in pairs]
        threads = [threading.Thread(target=self._carry, args=each) for each in arguments]
        for thread in threads:
            thread.start()
        try:
            self.barrier.wait()
            contexts[0].cpu_wait_event.set()
        finally:
            for thread in threads:
                thread.join()

    def _carry(self, context: Any, body: Body, before: Before, outputs: Any, errors: Any) -> None:
        try:
            before(context.id)
            with context:
                output = body()
            outputs[context.id] = output
        except BaseException as error:  # noqa: BLE001 - raised by the runner
            errors[context.id] = error
