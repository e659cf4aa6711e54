"""The parts of the campaign, in the order in which they run, and how much of each makes the full campaign.

Invariant: the figures of the table in `docs/design/checked.md` are the numbers in the column `full`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tests.campaign.records import Part

_ALL = (
    Part(
        name="steps",
        what="drawn steps with drawn errors, five schedules, both drivers, 1 to 8 threads",
        unit="steps",
        full=50_000,
        short=700,
        limit=30.0,
    ),
    Part(
        name="signals",
        what="Ctrl-C at drawn times of steps under every schedule",
        unit="signals",
        full=20_000,
        short=300,
    ),
    Part(
        name="forks",
        what="processes forked while threads run steps; each runs every schedule",
        unit="forks",
        full=500,
        short=12,
    ),
    Part(
        name="ranks",
        what="steps that 2 to 16 ranks run together: all call equally often, and the rows are right",
        unit="steps",
        full=20_000,
        short=150,
        limit=90.0,
    ),
    Part(
        name="gloo",
        what="drawn imbalances of rows between 4 processes whose functions communicate",
        unit="imbalances",
        full=200,
        short=4,
        limit=180.0,
        needs="torch",
    ),
    Part(
        name="kills",
        what="`microbatch run` ended by a signal at a drawn time",
        unit="kills",
        full=110,
        short=5,
    ),
    Part(
        name="resumes",
        what="`microbatch run --resume` killed at a drawn time and gone on with, into every kind of output",
        unit="kills",
        full=50,
        short=2,
        limit=180.0,
    ),
    Part(
        name="histories",
        what="steps with a damaged history",
        unit="histories",
        full=1_000,
        short=60,
    ),
    Part(
        name="inputs",
        what="`microbatch run` on a damaged input",
        unit="inputs",
        full=100,
        short=25,
    ),
    Part(
        name="places",
        what="`microbatch run` into a full disk, a read-only folder, a folder that vanishes",
        unit="places",
        full=40,
        short=6,
    ),
    Part(
        name="limits",
        what="calls that need 1.5 times the memory there is or more; the plain function dies in each",
        unit="calls",
        full=100,
        short=1,
        limit=500.0,
    ),
)

PARTS: Mapping[str, Part] = MappingProxyType({part.name: part for part in _ALL})
"""Name -> part."""
