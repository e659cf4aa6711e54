"""`python -m tests.campaign.child MODULE PART SEED`: runs cases one after another, as it is asked.

Invariant: one number a line comes in, one line of JSON goes out, and nothing else is written there. What a
case prints goes to standard error. A hang or a death of this process is seen by the one that asks
(`watched.py`), so no case needs a clock of its own. SIGUSR1 writes where each thread stands.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from random import Random
from typing import IO, Protocol

from tests.campaign.leftovers import Leftovers
from tests.campaign.records import Found, draw_of


class CasesModule(Protocol):
    """What the module of a part has."""

    LEFT: frozenset[str]
    """What is compared after each case; see `Leftovers`."""
    begin: Callable[[], None]
    """Called once before anything is compared: what is made once a process is made here."""
    case: Callable[[Random], Found]
    """Runs one drawn case."""


def main(place: str, part: str, seed: int) -> None:
    """Serve until the input ends; then say what is left."""
    answers = _own_output()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    faulthandler.register(signal.SIGUSR1)
    warnings.simplefilter("ignore")
    module: CasesModule = importlib.import_module(place)
    module.begin()
    left = Leftovers(module.LEFT)
    _tell(answers, Found(units={}), [])  # ready
    for line in sys.stdin:
        found = _found(module, draw_of(seed, part, int(line)))
        _tell(answers, found, left.after_case())
    _tell(answers, Found(units={}), left.at_end())


def _found(module: CasesModule, draw: Random) -> Found:
    """What a case found; an error that it lets through is a failure."""
    try:
        return module.case(draw)
    except BaseException:  # noqa: BLE001 - told to the process that asks
        return Found(units={}, failures=(f"the case itself failed:\n{traceback.format_exc()}",))


def _tell(answers: IO[str], found: Found, left: list[str]) -> None:
    told = {"units": dict(found.units), "failures": [*found.failures, *left]}
    answers.write(json.dumps(told) + "\n")
    answers.flush()


def _own_output() -> IO[str]:
    """What was standard output; from here on that is standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
