"""Run concurrent code under chosen schedules: the same one again, all of them, or many drawn ones."""

from tests.support.deterministic.carriers import fastest_carrier
from tests.support.deterministic.explore import Outcome, explore, explore_all, replay
from tests.support.deterministic.runtime import DeadlockError, DetRuntime, LeftBehindError, LivelockError
from tests.support.deterministic.stepping import Stepper
from tests.support.deterministic.strategies import (
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
