"""`python -m tests.campaign`: attack the library, and say in one table what held.

Invariant: the exit code is 0 only if nothing failed and every part did what was asked of it. The seed is
printed first, and with each failure the command that runs its case alone.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from tests.campaign.parts import PARTS
from tests.campaign.records import Part, Tally
from tests.campaign.running import Amount, run_case, run_part


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for; 1 where something failed."""
    options = _parser().parse_args(arguments)
    asked = [PARTS[name] for name in options.only]
    parts = [part for part in asked if not part.needs or find_spec(part.needs) is not None]
    print(f"seed {options.seed}", flush=True)
    for part in asked:
        if part not in parts:
            print(f"{part.name}: left out, as {part.needs} is not installed", flush=True)
    tallies = [_run(part, options, len(parts)) for part in parts]
    print("\n".join(_table(tallies)))
    if options.json is not None:
        options.json.write_text(json.dumps([_as_json(tally) for tally in tallies], indent=1))
    return int(any(tally.failures or not tally.done for tally in tallies))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--minutes", type=float, default=2.0, help="for all parts together (2)")
    amount.add_argument("--full", action="store_true", help="as much as the documents state")
    amount.add_argument("--case", type=int, help="one case of one part")
    parser.add_argument("--only", type=_names, default=list(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--json", type=Path, help="file for the figures and failures")
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in PARTS:
            raise argparse.ArgumentTypeError(f"no part {name!r}; known: {', '.join(PARTS)}")
    return names


def _run(part: Part, options: argparse.Namespace, parts: int) -> Tally:
    """Run one part, and print its failures at once."""
    if options.case is not None:
        tally = run_case(part, options.seed, options.case)
    elif options.full:
        tally = run_part(part, options.seed, Amount(units=part.full))
    else:
        share = options.minutes * 60 / parts
        tally = run_part(part, options.seed, Amount(units=part.full, seconds=share))
    for failure in tally.failures:
        print(f"\n{failure}", flush=True)
    print(f"{part.name}: {_counted(tally)}, {len(tally.failures)} failures", flush=True)
    return tally


def _counted(tally: Tally) -> str:
    return ", ".join(f"{count:,} {unit}" for unit, count in tally.units.items()) or "nothing"


def _table(tallies: Sequence[Tally]) -> list[str]:
    """What, how many, failures, seconds."""
    rows = [("part", "what", "how many", "failures", "seconds")]
    rows += [
        (tally.part.name, tally.part.what, _counted(tally), str(len(tally.failures)), f"{tally.seconds:.0f}")
        for tally in tallies
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["", *("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)]


def _as_json(tally: Tally) -> dict[str, object]:
    return {
        "part": tally.part.name,
        "seed": tally.seed,
        "units": tally.units,
        "seconds": round(tally.seconds, 1),
        "failures": [asdict(failure) for failure in tally.failures],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
