"""What an engine keeps in a global follows the ubatch that runs, and is put back whatever happens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import ArgumentTypeError, ThreadStateError, WaitTimeoutError
from microbatch.schedules import pingpong
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.interrupts import Interrupt, in_thread_of_its_own
from tests.support.taking_turns import make_step

RUNTIME = ThreadRuntime()
DRIVERS = st.sampled_from(["threads", *["greenlets"] * (find_spec("greenlet") is not None)])
OURS = (
    "turns/ambient.py",
    "turns/seat.py",
    "turns/handoff.py",
    "turns/greenlets.py",
    "schedules/pingpong.py",
)
"""Where the surroundings are entered and left, and what calls that."""


@contextmanager
def workers() -> Iterator[WorkerPool]:
    """Threads of one example."""
    pool = WorkerPool(RUNTIME)
    try:
        yield pool
    finally:
        pool.shutdown()


class Engine:
    """An engine with one global: whose turn it is. Notes each change, and any that is out of order."""

    def __init__(self) -> None:
        self.forward: Any = "nobody"
        self.changes: list[str] = []

    @contextmanager
    def ambient(self, part: UBatchSlice, ubatch: int) -> Iterator[None]:
        former = self.forward
        assert former == "nobody", f"ubatch {ubatch} came in while {former} was there"
        self.forward = (ubatch, part.token_slice.start)
        self.changes.append(f"enter {ubatch}")
        try:
            yield
        finally:
            self.changes.append(f"leave {ubatch}")
            self.forward = former

    def here(self, context: UBatchContext) -> None:
        """Fail unless the global is that of the ubatch."""
        assert self.forward == (context.ubatch_id, context.slice_info.token_slice.start)


def run(engine: Engine, pool: WorkerPool, yields: Sequence[int], compute: Any, **options: Any) -> None:
    options.setdefault("barrier_timeout", 20.0)
    pingpong.run(make_step(RUNTIME, pool, len(yields), compute, ambient=engine.ambient, **options))


def yielding(engine: Engine, yields: Sequence[int], fails: tuple[int, int] = (-1, -1)) -> Any:
    """A body that looks at the global before and after each yield, and while it unwinds."""

    def compute(context: UBatchContext, part: Any) -> None:
        try:
            for place in range(yields[context.ubatch_id] + 1):
                engine.here(context)
                if (context.ubatch_id, place) == fails:
                    raise ValueError("failed")
                if place < yields[context.ubatch_id]:
                    dbo.dbo_yield()
        finally:
            engine.here(context)

    return compute


@given(yields=st.lists(st.integers(0, 4), min_size=2, max_size=4), carried_by=DRIVERS)
def test_the_global_is_that_of_whoever_runs(yields: list[int], carried_by: str) -> None:
    """Entered at each resume, left at each hand-off: never two at once, and nobody's at the end."""
    engine = Engine()
    with workers() as pool:
        run(engine, pool, yields, yielding(engine, yields), driver=carried_by)
    assert engine.forward == "nobody"
    assert engine.changes[::2] == [change.replace("leave", "enter") for change in engine.changes[1::2]]
    for ubatch, count in enumerate(yields):
        alone = engine.changes.count(f"enter {ubatch}")
        assert alone <= count + 1, "entered more often than it got the turn"
    shortest = min(yields)
    assert engine.changes.count(f"enter {yields.index(shortest)}") == shortest + 1


@given(
    yields=st.lists(st.integers(0, 3), min_size=2, max_size=4),
    ubatch=st.integers(0, 3),
    place=st.integers(0, 3),
    carried_by=DRIVERS,
)
def test_an_error_finds_each_ubatch_in_its_own_surroundings(
    yields: list[int], ubatch: int, place: int, carried_by: str
) -> None:
    """Siblings unwind one after another, each in its own."""
    engine, where = Engine(), (ubatch % len(yields), place)
    fails = place <= yields[where[0]]
    with workers() as pool, pytest.raises(ValueError, match="failed") if fails else contextlib.nullcontext():
        run(engine, pool, yields, yielding(engine, yields, where), driver=carried_by)
    assert engine.forward == "nobody"


def test_switching_lanes_hands_over_too(driver: str, pool: WorkerPool) -> None:
    engine = Engine()

    def compute(context: UBatchContext, part: Any) -> None:
        dbo.dbo_yield_and_switch_from_compute_to_comm()
        engine.here(context)
        dbo.dbo_yield_and_switch_from_comm_to_compute()
        engine.here(context)

    run(engine, pool, [2, 2], compute, driver=driver)
    assert engine.changes.count("enter 0") == 3
    assert engine.forward == "nobody"


@pytest.mark.parametrize("fails", [False, True], ids=["sound step", "step that fails"])
@in_thread_of_its_own
def test_an_interrupt_at_any_bytecode_leaves_the_global_as_it_was(
    fails: bool, driver: str, pool: WorkerPool
) -> None:
    engine = Engine()

    def compute(context: UBatchContext, part: Any) -> None:
        dbo.dbo_yield()
        if fails and context.ubatch_id == 1:
            raise ValueError("sibling")

    def step() -> None:
        with contextlib.suppress(ValueError):
            run(engine, pool, [1, 1], compute, driver=driver)

    step()
    with Interrupt(0, OURS) as counting:
        step()
    struck = 0
    for at in range(1, counting.seen + 1):
        with contextlib.suppress(KeyboardInterrupt):
            struck += 1
            with Interrupt(at, OURS):
                step()
            struck -= 1
        assert engine.forward == "nobody", f"bytecode {at}: {engine.forward} stayed behind"
    assert struck > counting.seen // 2
    step()


def test_a_limit_that_passes_leaves_the_global_as_it_was(pool: WorkerPool) -> None:
    engine, release = Engine(), threading.Event()

    def compute(context: UBatchContext, part: Any) -> None:
        dbo.dbo_yield()
        if context.ubatch_id == 1:
            release.wait(20)

    def late(context: UBatchContext, part: Any) -> None:
        try:
            compute(context, part)
        except WaitTimeoutError:
            release.set()
            raise

    with pytest.raises(WaitTimeoutError):
        run(engine, pool, [1, 1, 1], late, barrier_timeout=0.2)
    pool.shutdown()  # the ubatch that was no longer waited for ends too
    assert engine.forward == "nobody"


def test_a_yield_in_a_thread_of_the_functions_own_leaves_the_owner_where_it_is(
    driver: str, pool: WorkerPool
) -> None:
    engine, errors = Engine(), list[BaseException]()

    def stray() -> None:
        try:
            dbo.dbo_yield()
        except ThreadStateError as error:
            errors.append(error)

    def compute(context: UBatchContext, part: Any) -> None:
        before, variables = list(engine.changes), copy_context()
        RUNTIME.spawn(lambda: variables.run(stray), name="stray").join(20)
        assert engine.changes == before
        engine.here(context)

    run(engine, pool, [0, 0], compute, driver=driver)
    assert len(errors) == 2
    assert engine.forward == "nobody"


@pytest.mark.counted
@pytest.mark.parametrize("schedule", ["sequential", "streamed", "pingpong"])
def test_a_wrapper_enters_its_surroundings_under_every_schedule(schedule: str, driver: str) -> None:
    engine = Engine()

    def model(x: Any) -> Any:
        engine.here(microbatch.current_ubatch())
        dbo.dbo_yield()
        engine.here(microbatch.current_ubatch())
        return x + 1

    with microbatch.wrap(
        model, num_ubatches=3, policy="fixed", schedule=schedule, driver=driver, ambient=engine.ambient
    ) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(9)), np.arange(1, 10))
        np.testing.assert_array_equal(wrapped(np.arange(9)), np.arange(1, 10))
    assert engine.forward == "nobody"
    times = 4 if schedule == "pingpong" else 2
    assert [engine.changes.count(f"enter {ubatch}") for ubatch in range(3)] == [times] * 3


@pytest.mark.counted
def test_one_ubatch_of_a_step_that_takes_turns_has_surroundings_too(pool: WorkerPool) -> None:
    engine = Engine()
    run(engine, pool, [1], yielding(engine, [1]))
    assert engine.changes == ["enter 0", "leave 0"]


@pytest.mark.counted
def test_a_step_inside_a_ubatch_has_surroundings_inside_of_those(driver: str) -> None:
    entered: list[tuple[str, int]] = []

    def named(name: str) -> Any:
        @contextmanager
        def ambient(part: UBatchSlice, ubatch: int) -> Iterator[None]:
            entered.append((name, ubatch))
            try:
                yield
            finally:
                assert entered.pop() == (name, ubatch), "left in another order than entered"

        return ambient

    def inner(x: Any) -> Any:
        for _ in range(2):
            assert [name for name, _ in entered] == ["outer", "inner"]
            assert entered[-1] == ("inner", dbo.dbo_current_ubatch_id())
            dbo.dbo_yield()
        return x

    options: Any = {"policy": "fixed", "schedule": "pingpong", "driver": driver, "num_ubatches": 2}
    inside = microbatch.wrap(inner, ambient=named("inner"), **options)

    def outer(x: Any) -> Any:
        for _ in range(2):
            assert entered == [("outer", dbo.dbo_current_ubatch_id())]
            x = inside(x)
            dbo.dbo_yield()
        return x

    with inside, microbatch.wrap(outer, ambient=named("outer"), **options) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(8)), np.arange(8))
    assert entered == []


@pytest.mark.counted
def test_auto_does_not_run_side_by_side_what_shares_a_global() -> None:
    engine = Engine()
    with microbatch.wrap(
        lambda x: x + 1, num_ubatches=4, policy="fixed", ambient=engine.ambient, thread_pool_size=2
    ) as wrapped:
        wrapped(np.arange(64))
        assert wrapped.last_report is not None
        assert wrapped.last_report.schedule == "sequential"


@pytest.mark.counted
def test_a_manager_that_swallows_errors_swallows_none_here(driver: str) -> None:
    class Swallows:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *error: object) -> bool:
            return True

    def model(x: Any) -> Any:
        dbo.dbo_yield()
        raise ValueError("failed")

    for schedule in ("sequential", "pingpong"):
        with (
            microbatch.wrap(
                model, num_ubatches=2, policy="fixed", schedule=schedule, driver=driver,
                ambient=lambda part, ubatch: Swallows(),
            ) as wrapped,
            pytest.raises(ValueError, match="failed"),
        ):  # fmt: skip
            wrapped(np.arange(4))


def test_what_is_no_function_or_gives_no_manager_is_an_error_that_says_so() -> None:
    with pytest.raises(ArgumentTypeError, match="ambient is int; pass a function"):
        microbatch.wrap(lambda x: x, ambient=3)
    for schedule in ("sequential", "pingpong"):
        with (
            microbatch.wrap(
                lambda x: x, num_ubatches=2, policy="fixed", schedule=schedule, verify="never",
                ambient=lambda part, ubatch: None,
            ) as wrapped,
            pytest.raises(ArgumentTypeError, match="return a context manager"),
        ):  # fmt: skip
            wrapped(np.arange(4))
