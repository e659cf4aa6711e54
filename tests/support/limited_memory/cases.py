"""What is drawn: a function, how many rows, how much memory there is for them, and how the step runs.

Invariant: the plain call needs at least 1.5 times the room, and in the room is place for the result and some
rows. So who dies is who takes too much at once, and who answers has to make do with what there is.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

import numpy as np

from tests.support.limited_memory.functions import MAKERS, NUMPY, TORCH, Work, whole_numbers

MIB = 1 << 20
SLACK = 24 * MIB
"""Room besides the result that every case has at least: a few rows, Python, and threads that touch little."""
STACK = 12 * MIB
"""Room for each thread that a step cannot do without; an address space counts all of its stack."""
SCHEDULES = ("auto", "sequential", "parallel", "streamed", "pingpong")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Calls under a limit."""

    kind: str
    """Name of the function."""
    seed: int
    """What it and its input are made from."""
    rows: int
    """Rows of the input."""
    room: int
    """Bytes above what the process has when the calls begin."""
    calls: int = 1
    """How many times it is called; the wrapped function knows more at each."""
    schedule: str = "auto"
    """One of `SCHEDULES`."""
    num_ubatches: int | None = None
    """Of ubatches that take turns; None under the other schedules."""
    memory_limit: int | None = None
    """The user's own limit, below the room; None where he sets none."""
    from_file: bool = False
    """Whether the input is a mapped file."""

    @classmethod
    def read(cls, text: str) -> Case:
        """The case that `str` wrote."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    def work(self) -> Work:
        """Its function."""
        return MAKERS[self.kind](np.random.default_rng(self.seed))

    def input(self) -> Any:
        """Its input, as an array of NumPy."""
        rng = np.random.default_rng(self.seed + 1)
        return whole_numbers(rng, self.rows, self.work().columns)

    @property
    def options(self) -> dict[str, Any]:
        """How it is wrapped."""
        options = {"schedule": self.schedule, "memory_limit": self.memory_limit}
        return options if self.num_ubatches is None else {**options, "num_ubatches": self.num_ubatches}


def draw(dice: Random) -> Case:
    """A case, the same for the same dice."""
    makers = (*NUMPY, *TORCH) if importlib.util.find_spec("torch") else NUMPY
    kind, seed = dice.choice(makers).__name__, dice.randrange(1 << 30)
    work = MAKERS[kind](np.random.default_rng(seed))
    rows = max(64, dice.randint(120, 360) * MIB // work.per_row)
    schedule = dice.choice(SCHEDULES)
    turns = dice.randint(2, 4) if schedule == "pingpong" else None
    least, most = _room(work, rows, turns or 1)
    room = dice.randint(least, max(least, most))
    return Case(
        kind=kind,
        seed=seed,
        rows=rows,
        room=room,
        calls=dice.choice((1, 1, 3)),
        schedule=schedule,
        num_ubatches=turns,
        memory_limit=dice.randint(least, room) if dice.random() < 0.3 else None,
        from_file=dice.random() < 0.3,
    )


def _room(work: Work, rows: int, threads: int) -> tuple[int, int]:
    """The least and the most room for so many rows."""
    result = rows * work.result_per_row
    return result + result // 8 + SLACK + (threads - 1) * STACK, int(rows * work.per_row / 1.5)
