"""Recovery on the adversarial device with a capacity: 5,000 drawn batches, capacities and faults.

Every case ends; it ends with the rows of the plain call unless not even one row fits, or with the function's
own error. No row that was stored is ever computed again, in no case; nor one that was computed, but for the
ubatches in flight where a row did not fit beside them: those that were not stored run once more, one at a
time.
"""

from __future__ import annotations

import gc
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.step.report import ONE_AT_A_TIME
from microbatch.step.ubatches import Ubatches
from microbatch.testing import AdversarialBackend, MemoryModel
from microbatch.testing.adversarial.order import WORST_ORDERS
from microbatch.testing.given_plugins import GivenBackends
from microbatch.turns.context import UBatchContext

pytestmark = pytest.mark.counted

CASES = 5000
CHUNK = 250
ROW = 64
"""Bytes of a row; also what the device rounds to."""
LIVE = 4
"""Arrays of a part that are alive at most: its input is a view, two temporaries, its output, and room for
one more."""


class FaultError(Exception):
    """The function's own error."""


@dataclass(frozen=True)
class Case:
    rows: int
    room: int
    """Rows of room besides input and result."""
    ubatches: int
    schedule: str
    model: MemoryModel
    order: Any
    fault: tuple[int, bool] | None
    """(call that fails, whether for memory)."""


class Devices(GivenBackends):
    """One device after another: looking up the plugins takes longer than a case."""

    def use(self, device: AdversarialBackend) -> Devices:
        self._given = {device.name: device}
        return self


DEVICES = Devices()


@pytest.fixture(autouse=True)
def _cheap_collections() -> Iterator[None]:
    """Giving memory back collects garbage, which takes 10 ms with all that a test session has imported."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def draw(number: int) -> Case:
    dice = random.Random(number)
    rows = dice.randint(1, 40)
    room = dice.choice([dice.randint(0, 8), dice.randint(LIVE, 4 * rows + LIVE), 1000])
    return Case(
        rows=rows,
        room=room,
        ubatches=dice.randint(1, min(rows, 6)),
        schedule=dice.choice(["sequential", "parallel", "pingpong", "streamed"]),
        model=MemoryModel(
            capacity=ROW * (2 * rows + room), caching=dice.random() < 0.5, fragmentation=dice.random() < 0.3
        ),
        order=dice.choice(WORST_ORDERS),
        fault=(dice.randint(0, 6), dice.random() < 0.6) if dice.random() < 0.5 else None,
    )


class Function:
    """Three operations, a fault where it is due, and a note of the rows of each call that came to its end."""

    def __init__(self, base: int, fault: tuple[int, bool] | None, stored: set[int]) -> None:
        self.base = base
        self.fault = fault
        self.stored = stored
        self.calls = 0
        self.finished: list[int] = []
        self.repeated: set[int] = set()

    def __call__(self, x: Any) -> Any:
        number, self.calls = self.calls, self.calls + 1
        first = (x.view.ctypes.data - self.base) // ROW
        self.repeated |= self.stored.intersection(range(first, first + len(x)))
        y = (x * 2 + 1) * 3
        if self.fault is not None and self.fault[0] == number:
            raise MemoryError("out of memory") if self.fault[1] else FaultError("broken")
        self.finished += range(first, first + len(x))
        return y


def perform(case: Case, stored: set[int]) -> str:
    """Run one case, check it, and say how it ended; `stored` gets the rows that were put into the result."""
    device = AdversarialBackend(case.order, case.model)
    values = np.arange(case.rows * 8.0).reshape(case.rows, 8)
    x = device.array(values)
    stored.clear()
    function = Function(x.view.ctypes.data, case.fault, stored)
    with microbatch.wrap(
        function, backend=device.name, plugins=DEVICES.use(device), schedule=case.schedule,
        num_ubatches=case.ubatches, policy="fixed",
    ) as wrapped:  # fmt: skip
        try:
            result = np.asarray(wrapped(x))
        except FaultError:
            assert case.fault is not None and not case.fault[1]
            end = "fault"
        except MemoryError:
            # one at a time, a part of a row needs LIVE rows, and what its ubatch has put together is kept;
            # side by side the others may have put theirs aside too, while one of them was about to make the
            # result
            kept = case.ubatches if case.schedule == "parallel" else 2
            assert case.room < LIVE + kept * -(-case.rows // case.ubatches) or case.rows == 1
            end = "does not fit"
        else:
            np.testing.assert_array_equal(result, (values * 2 + 1) * 3)
            assert set(function.finished) == set(range(case.rows))
            assert not stored or stored == set(range(case.rows))
            report = wrapped.last_report
            end = "retried" if report is not None and report.oom_sizes else "ran"
        assert not function.repeated
        again = len(function.finished) - len(set(function.finished))
        report = wrapped.last_report
        if (
            report is not None and ONE_AT_A_TIME in report.reason
        ):  # what was computed and not stored had to be let go
            assert max(Counter(function.finished).values()) <= 2
            return f"{end}, alone"
    assert not again
    return end


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The rows of the ubatches of this step that were put into the result."""
    rows: set[int] = set()
    store = Ubatches.store

    def noting(self: Ubatches, context: UBatchContext, outputs: Any) -> None:
        store(self, context, outputs)
        piece = context.slice_info.token_slice
        rows.update(range(piece.start, piece.stop))

    monkeypatch.setattr(Ubatches, "store", noting)
    return rows


@pytest.mark.case(68)
@pytest.mark.parametrize("first", range(0, CASES, CHUNK))
def test_every_case_ends_right_and_repeats_nothing(first: int, stored: set[int]) -> None:
    ends: dict[str, int] = {}
    for number in range(first, first + CHUNK):
        try:
            end = perform(draw(number), stored)
        except BaseException as error:
            error.add_note(f"case {number}: {draw(number)}")
            raise
        ends[end] = ends.get(end, 0) + 1
    assert sum(count for end, count in ends.items() if "alone" in end) < CHUNK // 3
    assert sum(count for end, count in ends.items() if "retried" in end) > CHUNK // 25
    assert ends["ran"] > CHUNK // 5
    assert ends["fault"] > CHUNK // 50
    assert ends.get("does not fit", 0) < CHUNK // 3
