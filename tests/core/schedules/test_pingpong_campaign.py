"""Many drawn steps under drawn schedules: no hang, no row lost or doubled, no wrong error, no thread left.

200,000 in CI (HYPOTHESIS_PROFILE=ci), 4,000 elsewhere, 10 million with `-m soak`. A failure prints the seed,
the program and the schedule.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.support.deterministic import PCT, DetRuntime, RandomWalk, fastest_carrier
from tests.support.taking_turns import Fault, TurnsProgram

CHUNKS = 20
ERRORS = (ValueError, KeyboardInterrupt, SystemExit)


def schedules() -> int:
    if os.environ.get("HYPOTHESIS_PROFILE") != "ci":
        return 4_000
    return 200_000 if fastest_carrier() == "greenlets" else 20_000


def drawn_program(rng: random.Random) -> TurnsProgram:
    """2 to 4 ubatches, 0 to 3 yields each, and in half of the cases a fault."""
    yields = [rng.randrange(4) for _ in range(rng.choice((2, 2, 2, 3, 3, 4)))]
    if rng.random() < 0.5:
        return TurnsProgram(yields, timeout=rng.choice((None, 30.0)))
    ubatch = rng.randrange(len(yields))
    places: list[int | str] = ["load", "store", *range(yields[ubatch] + 1)]
    if ubatch < len(yields) - 1:
        places.append("setup")
    return TurnsProgram(
        yields, Fault(ubatch, rng.choice(places), rng.choice(ERRORS)), timeout=rng.choice((None, 30.0))
    )


def campaign(seeds: range) -> None:
    carrier = fastest_carrier()
    for seed in seeds:
        rng = random.Random(seed)
        program = drawn_program(rng)
        strategy = PCT(seed, depth=rng.choice((2, 3, 4)), steps=80) if seed % 2 else RandomWalk(seed)
        runtime = DetRuntime(strategy, carrier=carrier, spurious=rng.choice((0, 0, 3)))
        try:
            runtime.run(lambda: program(runtime))  # noqa: B023 - run at once
        except BaseException as error:
            error.add_note(
                f"seed {seed}: yields {program.yields}, {program.fault}, schedule {runtime.schedule()}"
            )
            raise


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_drawn_steps_under_drawn_schedules(chunk: int) -> None:
    size = schedules() // CHUNKS
    campaign(range(chunk * size, (chunk + 1) * size))


@pytest.mark.soak
@pytest.mark.parametrize("chunk", range(100))
def test_ten_million_steps_under_drawn_schedules(chunk: int) -> None:
    campaign(range(1_000_000 + chunk * 100_000, 1_000_000 + (chunk + 1) * 100_000))
