"""Run concurrent code under chosen schedules: the same one again, all of them, or many drawn ones."""

from microbatch.testing.deterministic.carriers import fastest_carrier
from microbatch.testing.deterministic.explore import Outcome, explore, explore_all, replay
from microbatch.testing.deterministic.runtime import DeadlockError, DetRuntime, LeftBehindError, LivelockError
from microbatch.testing.deterministic.stepping import Stepper
from microbatch.testing.deterministic.strategies import (
    PCT,
    BoundedSearch,
    Decision,
    Preemptions,
    RandomWalk,
    Replay,
)

__all__ = [
    "PCT",
    "BoundedSearch",
    "DeadlockError",
    "Decision",
    "DetRuntime",
    "LeftBehindError",
    "LivelockError",
    "Outcome",
    "Preemptions",
    "RandomWalk",
    "Replay",
    "Stepper",
    "explore",
    "explore_all",
    "fastest_carrier",
    "replay",
]
