"""Run one program under many schedules and stop at the first that fails.

A program is a function of the runtime: it builds what it tests on that runtime, runs it, and raises if a
promise was broken. A failing schedule is in the note of the error, and `replay` runs it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.deterministic.runtime import DetRuntime
from tests.support.deterministic.strategies import PCT, BoundedSearch, RandomWalk, Replay, Strategy

__all__ = ["Outcome", "Program", "explore", "explore_all", "replay"]

Program = Callable[[DetRuntime], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a search found."""

    schedules: int
    """How many were run."""
    error: BaseException | None = None
    """What the last of them raised, None if all passed."""
    choices: tuple[int, ...] = ()
    """The schedule that failed; feed it to `replay`."""

    def check(self) -> None:
        """Raise the error, if there is one, with the schedule in a note."""
        if self.error is not None:
            self.error.add_note(f"schedule {self.schedules}: {json.dumps(self.choices)}")
            raise self.error


def explore(program: Program, seeds: Iterable[int], *, strategy: str = "mixed", **options: Any) -> Outcome:
    """Run `program` under one drawn schedule a seed: `random`, `pct`, or `mixed`, which alternates.

    `options` go to the runtime (carrier, eager_timeouts, spurious).
    """
    count = 0
    for seed in seeds:
        count += 1
        drawn: Strategy = (
            PCT(seed) if strategy == "pct" or (strategy == "mixed" and seed % 2) else RandomWalk(seed)
        )
        runtime = DetRuntime(drawn, **options)
        error = _run(program, runtime)
        if error is not None:
            return Outcome(schedules=count, error=error, choices=tuple(runtime.choices))
    return Outcome(schedules=count)


def explore_all(
    program: Program, *, preemptions: int = 2, limit: int | None = None, **options: Any
) -> Outcome:
    """Run `program` under every schedule of at most `preemptions` preemptions, or the first `limit`."""
    search = BoundedSearch(preemptions)
    count = 0
    for strategy in search:
        count += 1
        runtime = DetRuntime(strategy, **options)
        error = _run(program, runtime)
        if error is not None:
            return Outcome(schedules=count, error=error, choices=tuple(runtime.choices))
        if count == limit:
            break
        search.ran(runtime.decisions)
    return Outcome(schedules=count)


def replay(program: Program, choices: Sequence[int] | str, **options: Any) -> None:
    """Run `program` once more under a recorded schedule (a list, or its JSON); raises what it raises."""
    recorded = json.loads(choices) if isinstance(choices, str) else choices
    runtime = DetRuntime(Replay(recorded), **options)
    runtime.run(lambda: program(runtime))


def _run(program: Program, runtime: DetRuntime) -> BaseException | None:
    try:
        runtime.run(lambda: program(runtime))
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the outcome
        return error
    return None
