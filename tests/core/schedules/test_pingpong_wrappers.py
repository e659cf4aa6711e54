"""Wrappers that take turns, inside each other, beside each other, and called from several threads."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo
from tests.support.threads import no_thread_left

Array = Any


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    with no_thread_left():
        yield


@pytest.fixture(params=["threads", "greenlets"])
def turns(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Wrap a function so that its steps take turns; closed at the end."""
    if request.param == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    made: list[Any] = []

    def wrap(function: Callable[..., Any], num_ubatches: int = 3, **options: Any) -> Any:
        made.append(
            microbatch.wrap(
                function,
                schedule="pingpong",
                driver=request.param,
                policy="fixed",
                num_ubatches=num_ubatches,
                barrier_timeout=60.0,
                **options,
            )
        )
        return made[-1]

    yield wrap
    for wrapper in made:
        wrapper.shutdown()


def layer(x: Array) -> Array:
    y = x * 2
    dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
    y = y + 1
    dbo.dbo_yield_and_switch_from_comm_to_compute("combine")
    return y - x


ROWS = np.arange(60.0).reshape(20, 3)


@pytest.mark.parametrize("num_ubatches", [1, 2, 3, 7, 20])
def test_the_wrapped_call_equals_the_plain_one(num_ubatches: int, turns: Callable[..., Any]) -> None:
    wrapped = turns(layer, num_ubatches)
    for _ in range(3):
        np.testing.assert_array_equal(wrapped(ROWS), layer(ROWS))
    assert len(wrapped.last_report.sizes) == num_ubatches


@pytest.mark.case(39)
def test_a_wrapper_inside_a_wrapper(turns: Callable[..., Any]) -> None:
    inner = turns(layer, 2)

    def outer(x: Array) -> Array:
        y = inner(x)
        dbo.dbo_yield()
        return inner(y)

    np.testing.assert_array_equal(turns(outer)(ROWS), layer(layer(ROWS)))


@pytest.mark.counted
@pytest.mark.parametrize("schedule", ["sequential", "parallel", "streamed"])
def test_a_step_without_turns_inside_one_hides_the_seat(schedule: str, turns: Callable[..., Any]) -> None:
    """A yield point in there must not pass the turn of the ubatch outside."""
    running: list[int] = []

    def plain(x: Array) -> Array:
        assert not dbo.dbo_enabled()
        dbo.dbo_register_recv_hook(lambda: pytest.fail("a hook was left with a ubatch of the outer step"))
        before = list(running)
        dbo.dbo_yield()
        assert running == before, "the turn of the outer ubatch was passed"
        return layer(x)

    with microbatch.wrap(plain, schedule=schedule, policy="fixed", num_ubatches=2) as inner:

        def outer(x: Array) -> Array:
            assert dbo.dbo_enabled()
            running.append(dbo.dbo_current_ubatch_id())
            y = inner(x)
            assert dbo.dbo_enabled()
            dbo.dbo_yield()
            return y

        np.testing.assert_array_equal(turns(outer)(ROWS), layer(ROWS))
        assert running == [0, 1, 2]
        assert len(inner.last_report.sizes) == 2


class Turns:
    """Which ubatch of the outer step has the turn, as the pieces of its work say."""

    def __init__(self) -> None:
        self.order: list[int] = []

    def work(self) -> None:
        """Note that the ubatch that runs has the turn."""
        self.order.append(dbo.dbo_current_ubatch_id())

    def quiet(self, x: Array) -> Array:
        """Use every helper where none may do anything."""
        before, ubatch = list(self.order), dbo.dbo_current_ubatch_id()
        assert not dbo.dbo_enabled()
        dbo.dbo_register_recv_hook(lambda: pytest.fail("a hook was left with a ubatch of the outer step"))
        for name in sorted({*dbo.__all__} - {"dbo_register_recv_hook", "dbo_get_previous_event"}):
            getattr(dbo, name)()
        assert dbo.dbo_get_previous_event(lambda: "ran") is None
        assert self.order == before, "the turn of the outer ubatch was passed"
        assert dbo.dbo_current_ubatch_id() == ubatch
        return layer(x)


UNCUT: dict[str, dict[str, Any]] = {
    "kept whole by its policy": {"policy": "threshold"},
    "one part": {"policy": "fixed", "num_ubatches": 1},
    "taking turns with nobody": {"schedule": "pingpong", "num_ubatches": 1},
    "tried first": {"policy": "fixed", "num_ubatches": 2, "verify": "always"},
    "not to be cut": {"verify": "first"},
}


@pytest.mark.pitfall(24)
@pytest.mark.parametrize("how", UNCUT.values(), ids=UNCUT)
@pytest.mark.parametrize("deep", [1, 2])
def test_a_wrapped_call_that_is_not_cut_passes_no_turn_of_the_ubatch_around_it(
    how: dict[str, Any], deep: int, turns: Callable[..., Any]
) -> None:
    """It is one piece of work, inside one wrapper or two, as are the calls that show whether it may be cut;
    the ubatch itself passes its turn before and after it."""
    log = Turns()
    inner = microbatch.wrap(log.quiet, **how)
    called = inner if deep == 1 else microbatch.wrap(lambda x: inner(x), policy="threshold", verify="never")

    def outer(x: Array) -> Array:
        log.work()
        y = called(x)
        log.work()
        dbo.dbo_yield()
        log.work()
        y = called(y)
        assert dbo.dbo_enabled()
        return y

    with inner, called:
        wrapped = turns(outer, 2, verify="never")
        np.testing.assert_array_equal(wrapped(ROWS), layer(layer(ROWS)))
    assert log.order == [0, 0, 1, 1, 0, 1]


@pytest.mark.counted
def test_after_an_error_in_a_call_that_is_not_cut_the_ubatch_passes_its_turn_again(
    turns: Callable[..., Any],
) -> None:
    """The function may catch what the inner call raised, and goes on as the ubatch that it is."""
    log = Turns()

    def fail(x: Array) -> Array:
        log.quiet(x)
        raise ValueError("inside")

    with microbatch.wrap(fail, policy="threshold") as inner:

        def outer(x: Array) -> Array:
            log.work()
            with pytest.raises(ValueError, match="inside"):
                inner(x)
            dbo.dbo_yield()
            log.work()
            return x

        np.testing.assert_array_equal(turns(outer, 2)(ROWS), ROWS)
        assert log.order == [0, 1, 0, 1]
        with pytest.raises(ValueError, match="inside") as caught:
            turns(lambda x: inner(x), 2)(ROWS)
    assert [note for note in caught.value.__notes__ if note.startswith("in ubatch 0 of 2")]


@pytest.mark.counted
def test_a_check_and_a_tuning_inside_a_ubatch_pass_no_turn(turns: Callable[..., Any]) -> None:
    """They call the function many times, which is their work and not that of the step around."""
    log = Turns()

    def outer(x: Array) -> Array:
        log.work()
        assert microbatch.check(log.quiet, x).cuttable
        assert microbatch.tune(log.quiet, x).chosen
        log.work()
        dbo.dbo_yield()
        log.work()
        return x

    np.testing.assert_array_equal(turns(outer, 2)(ROWS), ROWS)
    assert log.order == [0, 0, 1, 1, 0, 1]


def test_outside_any_step_a_wrapped_call_hides_nothing_and_leaves_nothing() -> None:
    """Calls without a ubatch around them, nested too."""
    log = Turns()
    with (
        microbatch.wrap(log.quiet, policy="threshold") as inner,
        microbatch.wrap(lambda x: inner(x), policy="threshold") as outer,
    ):
        np.testing.assert_array_equal(outer(ROWS), layer(ROWS))
    assert not dbo.dbo_enabled()


@pytest.mark.bad_input(64)
@pytest.mark.pitfall(24)
@pytest.mark.case(40)
def test_a_wrapper_that_calls_itself(turns: Callable[..., Any]) -> None:
    def deeper(x: Array) -> Array:
        dbo.dbo_yield()
        y = wrapped(x) if len(x) > 3 else layer(x)
        dbo.dbo_yield()
        return y

    wrapped = turns(deeper, 2)
    np.testing.assert_array_equal(wrapped(ROWS), layer(ROWS))


@pytest.mark.pitfall(24)
@pytest.mark.case(41, 42)
def test_two_wrappers_at_once_and_one_wrapper_from_several_threads(turns: Callable[..., Any]) -> None:
    first, second = turns(layer, 2), turns(layer, 4)
    wrong: list[Any] = []

    def caller(number: int) -> None:
        rows = ROWS + number
        for round_number in range(10):
            wrapped = first if (number + round_number) % 2 else second
            try:
                np.testing.assert_array_equal(wrapped(rows), layer(rows))
            except BaseException as error:  # noqa: BLE001 - shown below
                wrong.append(error)

    threads = [threading.Thread(target=caller, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


@pytest.mark.counted
def test_an_error_of_the_inner_wrapper_reaches_the_outermost_caller(turns: Callable[..., Any]) -> None:
    def failing(x: Array) -> Array:
        dbo.dbo_yield()
        if x[0, 0] > 20:
            raise ValueError("deep inside")
        return layer(x)

    inner = turns(failing, 2)
    outer = turns(lambda x: layer(inner(x)), 3)
    with pytest.raises(ValueError, match="deep inside") as caught:
        outer(ROWS)
    assert len([note for note in caught.value.__notes__ if note.startswith("in ubatch")]) == 2
    small = np.ones((8, 3))
    np.testing.assert_array_equal(outer(small), layer(layer(small)))


@pytest.mark.counted
@pytest.mark.pitfall(3)
def test_callers_floating_point_rules_hold_in_every_ubatch(turns: Callable[..., Any]) -> None:
    def overflow(x: Array) -> Array:
        dbo.dbo_yield()
        return x * np.float64(1e308)

    rows = np.array([[0.0]] * 7 + [[1e10]])
    wrapped = turns(overflow, 4)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        wrapped(rows)
    with np.errstate(all="ignore"):
        assert np.isinf(wrapped(rows)[-1, 0])


def test_unequal_yields_are_told_with_strict_yields(turns: Callable[..., Any]) -> None:
    def uneven(x: Array) -> Array:
        for _ in range(int(x[0, 0]) % 2 + 1):
            dbo.dbo_yield()
        return x

    rows = np.arange(2.0)[:, None]
    np.testing.assert_array_equal(turns(uneven, 2)(rows), rows)
    with pytest.raises(microbatch.MicrobatchError, match="ubatch 0 passed 1, ubatch 1 passed 2"):
        turns(uneven, 2, strict_yields=True)(rows)


@pytest.mark.case(43)
@pytest.mark.parametrize("cycle", [False, True])
def test_a_dropped_wrapper_leaves_no_thread(cycle: bool) -> None:
    class Model:
        def __call__(self, x: Array) -> Array:
            return layer(x)

    for _ in range(10):
        model: Any = Model()
        wrapped = microbatch.wrap(model, schedule="pingpong", policy="fixed", num_ubatches=3)
        if cycle:
            model.wrapper = wrapped
        wrapped(ROWS)
        del wrapped, model
    gc.collect()
