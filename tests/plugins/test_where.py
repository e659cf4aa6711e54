"""The arithmetic of `python -m benchmarks where`, and that its recording sees real steps and changes none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from benchmarks import workloads
from benchmarks.where import first, settled, shown
from benchmarks.where_recording import Recording
from benchmarks.where_split import FUNCTION, GATHER, WAITING, Interval, Step, split
from microbatch.gathering.gather import Gather

CALLER, WORKER = 1, 2
STEP = Step(thread=CALLER, started=10.0, ended=14.0)


def interval(kind: str, thread: int, started: float, ended: float, system: float = 0.0) -> Interval:
    used = 0.0 if kind == WAITING else ended - started - system
    return Interval(
        kind=kind,
        thread=thread,
        started=started,
        ended=ended,
        user=used,
        system=system,
        faults=int(system * 10),
    )


def test_two_threads_share_one_step() -> None:
    """A wait that began before the step, and one that goes on after it, count as long as the step lasts."""
    found = split(
        [STEP],
        [
            interval(WAITING, WORKER, 3, 11),
            interval(FUNCTION, CALLER, 10, 12, system=0.5),
            interval(GATHER, CALLER, 12, 12.5, system=0.25),
            interval(FUNCTION, WORKER, 11, 13),
            interval(WAITING, WORKER, 13.5, 99),
            interval(WAITING, CALLER, 12.75, 13.5),
        ],
    )
    assert found.total == 8
    assert found.function == 3.5
    assert found.faults == 0.75
    assert found.gather == 0.25
    assert found.waiting == 1 + 0.5 + 0.75
    assert found.ours == 8 - 3.5 - 0.75 - 0.25 - 2.25
    assert found.minor_faults == 7


def test_a_thread_that_only_waits_has_no_part_in_the_step() -> None:
    """It belongs to another wrapper, or the step was not cut."""
    found = split([STEP], [interval(WAITING, WORKER, 0, 99), interval(FUNCTION, CALLER, 10, 14)])
    assert found.total == found.function == 4
    assert found.waiting == found.ours == 0


def test_a_wait_in_the_middle_of_the_function_is_no_time_of_the_function() -> None:
    """As ubatches that take turns wait."""
    found = split([STEP], [interval(FUNCTION, CALLER, 10, 14), interval(WAITING, CALLER, 11, 12)])
    assert (found.function, found.waiting, found.ours) == (3, 1, 0)


def test_what_had_no_core_is_told() -> None:
    """Two seconds of computing that lasted three."""
    late = Interval(kind=FUNCTION, thread=CALLER, started=10, ended=13, user=1.5, system=0.5)
    assert split([STEP], [late]).off_core == 1


@given(st.data())
def test_the_shares_add_up_and_none_is_negative(data: st.DataObject) -> None:
    """Whatever the threads did, one thing after another."""
    steps = [Step(thread=CALLER, started=10.0 * number, ended=10.0 * number + 7) for number in range(2)]
    intervals = []
    for thread in (CALLER, WORKER):
        for step in steps:
            cuts = sorted(data.draw(st.lists(st.floats(step.started, step.ended), min_size=2, max_size=9)))
            for started, ended in zip(cuts[::2], cuts[1::2], strict=False):
                kind = data.draw(st.sampled_from((FUNCTION, GATHER, WAITING)))
                system = 0.0 if kind == WAITING else data.draw(st.floats(0, 10))
                intervals.append(interval(kind, thread, started, ended, system))
    found = split(steps, intervals)
    shares = (found.function, found.waiting, found.faults, found.gather, found.ours)
    assert min(shares) >= -1e-9
    assert sum(shares) == pytest.approx(found.total)
    assert found.total in (14.0, 21.0, 28.0)


@pytest.mark.parametrize("whose", [settled, first])
def test_real_steps_are_seen_whole(whose: type) -> None:
    """The function and the gather are in the split, and the store is the plain one afterwards.

    A settled wrapper may run a batch whole now and then, to see whether that is faster: nothing is stored.
    """
    plain, inputs = Gather.store, workloads.options(400_000)
    found, report = whose((workloads.black_scholes, inputs), 2)
    assert Gather.store is plain
    assert report.failure is None and found.function > 0
    assert found.gather > 0 or whose is settled
    assert found.ours >= 0 and found.total >= found.function
    assert shown("black-scholes", 2, found, report).row_count == 7


def test_recording_changes_no_step() -> None:
    """A recorded function is shown to be cuttable as it is, and has the same results."""
    x = np.random.default_rng(0).standard_normal((50_000, 8)).astype(np.float32)
    recording = Recording()
    plain = microbatch.wrap(workloads.normalise)
    with microbatch.wrap(recording.function(workloads.normalise), runtime=recording.runtime) as recorded:
        images = np.tile(x.astype(np.uint8)[:, :3].reshape(-1, 5, 2, 3), (8, 1, 1, 1))
        np.testing.assert_array_equal(recorded(images), plain(images))
        assert recorded.last_report is not None and plain.last_report is not None
        assert recorded.last_report.split == plain.last_report.split
    kinds = {one.kind for one in recording.intervals()}
    assert FUNCTION in kinds and GATHER not in kinds
