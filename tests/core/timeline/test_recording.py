"""What is recorded: every phase of every ubatch, where it ran, and nothing where nobody records."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.schedules import sequential
from microbatch.schedules.step import Step
from microbatch.timeline.bars import Bar
from microbatch.timeline.recording import Recording

pytestmark = pytest.mark.counted

FIXED: dict[str, Any] = {"policy": "fixed", "num_ubatches": 3, "backend": "cpu"}


def doubled(x: Any) -> Any:
    dbo.dbo_yield("half way")
    return x * 2


def seen_of(schedule: str, **options: Any) -> microbatch.Timeline:
    """A recording of one step."""
    x = np.arange(24.0).reshape(12, 2)
    made = microbatch.wrap(doubled, schedule=schedule, **FIXED, **options)
    with made as wrapper, microbatch.record() as seen:
        y = wrapper(x)
    assert (y == x * 2).all()
    return seen


def phases(bars: Any) -> Counter[tuple[str, int | None]]:
    return Counter((bar.phase, bar.ubatch) for bar in bars)


@pytest.mark.parametrize("schedule", ["sequential", "parallel"])
def test_each_ubatch_has_each_phase(schedule: str) -> None:
    """Cut, compute and store of each, and the step around them."""
    expected = {(phase, ubatch): 1 for phase in ("cut", "compute", "store") for ubatch in range(3)}
    assert phases(seen_of(schedule).bars) == {("step", None): 1} | expected


@pytest.mark.parametrize("driver", ["threads", "greenlets"])
def test_taking_turns_shows_yields_and_the_first_wait(driver: str) -> None:
    """A call that yields once is compute, yield, compute."""
    if driver == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver is the extra [greenlet]")
    seen = seen_of("pingpong", driver=driver)
    found = phases(seen.bars)
    for ubatch in range(3):
        assert found["wait", ubatch] == found["yield", ubatch] == 1
        assert found["compute", ubatch] == 2
    assert {bar.label for bar in seen.bars if bar.phase == "yield"} == {"half way"}


def test_a_pipeline_shows_copies_and_waits() -> None:
    """Each stage is in the thread of its stream."""
    bars = seen_of("streamed").bars
    found = phases(bars)
    assert all(found["copy in", ubatch] == found["compute", ubatch] == 1 for ubatch in range(3))
    assert any(bar.phase == "wait" for bar in bars)
    assert len({bar.lane for bar in bars}) == 4


@pytest.mark.parametrize("schedule", ["sequential", "parallel", "pingpong", "streamed"])
def test_bars_of_a_lane_follow_each_other(schedule: str) -> None:
    """Nothing is told twice: on a lane no two bars overlap, but for the step around them."""
    bars = [bar for bar in seen_of(schedule).bars if bar.phase != "step"]
    for lane in {bar.lane for bar in bars}:
        ours = sorted((bar for bar in bars if bar.lane == lane), key=lambda bar: (bar.start, bar.end))
        assert all(one.end <= other.start for one, other in pairwise(ours))


def test_a_step_that_is_not_cut_is_one_call() -> None:
    """The whole call is one bar of compute of no ubatch."""
    with microbatch.wrap(doubled, backend="cpu", verify="never") as wrapper, microbatch.record() as seen:
        wrapper(np.ones((3, 2)))
    assert phases(seen.bars) == {("step", None): 1, ("compute", None): 1}
    assert seen.steps[0].report is not None and seen.steps[0].name == "doubled"


def test_a_wrapper_inside_of_a_ubatch_is_a_step_of_its_own() -> None:
    """Under every schedule, in pooled threads too; the outer ubatch computes nothing meanwhile."""
    for schedule in ("sequential", "parallel", "pingpong", "streamed"):
        with microbatch.wrap(doubled, schedule="sequential", **FIXED) as inner:

            def outer(x: Any, call: Any = inner) -> Any:
                return call(x) + 1

            with microbatch.wrap(outer, schedule=schedule, **FIXED) as wrapper, microbatch.record() as seen:
                wrapper(np.ones((27, 2)))
        assert [step.inside for step in seen.steps] == [None, 0, 0, 0]
        nested = [bar for bar in seen.bars if bar.phase == "nested"]
        assert {bar.ubatch for bar in nested} == {0, 1, 2}
        assert seen.summary().steps == 1


def test_threads_with_the_context_of_the_block_are_recorded_and_others_are_not() -> None:
    """A step asks a context variable of its caller."""
    wrapped = microbatch.wrap(doubled, **FIXED)
    with wrapped as wrapper, ThreadPoolExecutor(1) as pool, microbatch.record() as seen:
        pool.submit(wrapper, np.ones((9, 2))).result()
        assert not seen.bars
        pool.submit(copy_context().run, wrapper, np.ones((9, 2))).result()
    assert len(seen.steps) == 1
    assert threading.current_thread().name not in {bar.lane for bar in seen.bars}


def test_an_error_ends_the_bars_and_passes() -> None:
    """What failed is recorded as far as it came."""

    def fail(x: Any) -> Any:
        raise KeyError("row")

    wrapper = microbatch.wrap(fail, schedule="sequential", **FIXED)
    with microbatch.record() as seen, wrapper, pytest.raises(KeyError):
        wrapper(np.ones((9, 2)))
    assert phases(seen.bars) == {("step", None): 1, ("cut", 0): 1, ("compute", 0): 1}


def test_nothing_is_in_the_way_of_a_step_that_nobody_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions of its `Step` are the plain ones, after a recording too."""
    steps: list[Step] = []

    def run(step: Step) -> None:
        steps.append(step)
        sequential.run(step)

    monkeypatch.setattr("microbatch.step.in_parts.load_schedule", lambda name: run)
    with microbatch.wrap(doubled, schedule="sequential", **FIXED) as wrapper:
        with microbatch.record():
            wrapper(np.ones((9, 2)))
        wrapper(np.ones((9, 2)))
    modules = [{getattr(work, "__module__", "") for work in (s.load, s.compute, s.store)} for s in steps]
    assert modules == [{"microbatch.timeline.step_watch"}, {"microbatch.step.ubatches"}]


@given(st.integers(0, 8), st.integers(0, 12))
def test_what_is_kept_is_bounded_and_the_rest_is_counted(most: int, count: int) -> None:
    """Bars beyond the cap are told as a number."""
    recording = Recording(most)
    for place in range(count):
        recording.add(Bar(phase="compute", start=place, end=place + 1, lane="a"))
    assert len(recording.bars(float)) == min(most, count)
    assert recording.left_out == max(0, count - most)


def test_a_block_with_few_bars_says_what_was_left_out() -> None:
    """The summary too."""
    with microbatch.wrap(doubled, **FIXED) as wrapper, microbatch.record(most_bars=4) as seen:
        wrapper(np.ones((9, 2)))
    assert len(seen.bars) == 4
    assert seen.left_out > 0
    assert "left out" in str(seen.summary())


def test_another_ending_is_refused(tmp_path: Path) -> None:
    """The formats are named."""
    with microbatch.record() as seen:
        pass
    with pytest.raises(microbatch.errors.ArgumentValueError, match=r"\.json or \.html"):
        seen.save(tmp_path / "seen.png")
