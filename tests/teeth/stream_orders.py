"""Steps under drawn orders until one is wrong: `python -m tests.teeth.stream_orders FIRST COUNT STEP ...`.

Prints one line of JSON: the order that showed it (None where none did) and what was wrong: a value, an error,
or, where no order shows either, what is unordered by name. `tests.teeth.streams` runs it on damaged copies of
the packages, in a process of its own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from tests.support import cupy_steps

__all__ = ["first_wrong", "main", "models_of", "wrong"]


def first_wrong(steps: Sequence[str], orders: range, *, recorded: bool = False) -> tuple[int | None, str]:
    """The first of `orders` under which one of `steps` is wrong, and how; models and steps take turns."""
    names = {step: models_of(step) for step in steps}
    for number in orders:
        step = steps[number % len(steps)]
        model = names[step][number // len(steps) % len(names[step])]
        found = wrong(model, step, number, recorded=recorded)
        if found:
            return number, f"{model}, {step}: {found}"
    return None, ""


def models_of(step: str) -> list[str]:
    """Names of the models that go through `step`."""
    if step in cupy_steps.STEPS:
        return list(cupy_steps.MODELS)
    from tests.support import stream_steps  # needs torch

    return stream_steps.models()


def wrong(model: str, step: str, seed: int, *, recorded: bool) -> str:
    """What is wrong with `step` under the order `seed`, or an empty text."""
    if step in cupy_steps.STEPS:
        return cupy_steps.wrong(model, step, seed, recorded=recorded)
    from tests.support import stream_steps

    return stream_steps.wrong(model, step, seed, recorded=recorded)


def main(given: Sequence[str]) -> int:
    """Print what was found."""
    first, count, *steps = given
    orders = range(int(first), int(first) + int(count))
    number, found = first_wrong(steps, orders)
    if number is None:  # no value shows it, for instance where what is unordered is read by nobody
        number, found = first_wrong(steps, orders, recorded=True)
    sys.stdout.write(json.dumps({"order": number, "found": found}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
