"""The error that a function raised reaches the caller, however its class answers those who look at it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import StepOutOfMemoryError
from microbatch.extend.records import FailureKind, Proposal, SizingRequest, StepReport
from microbatch.options.raised import cause_of, described, is_a, name_of
from microbatch.testing import AdversarialBackend
from microbatch.testing.given_plugins import GivenBackends, GivenPolicy
from tests.support.strange_errors import HOOKS, PLACES, Recipe, recipes

BASES = (ValueError, MemoryError, RuntimeError, SystemExit, GeneratorExit)
ORDERS: dict[str, dict[str, Any]] = {
    "sequential": {"schedule": "sequential"},
    "parallel": {"schedule": "parallel", "thread_pool_size": 2},
    "threads": {"schedule": "pingpong", "driver": "threads"},
    "greenlets": {"schedule": "pingpong", "driver": "greenlets"},
    "streamed": {"schedule": "streamed"},
    "whole": {"policy": "threshold"},
}
"""Ways to run two parts; the last one runs the batch whole."""


def raised_by(call: Callable[[], Any]) -> BaseException:
    """The very object that `call` raises; pytest would look at it."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - what it is the test says
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.counted
@pytest.mark.parametrize("order", ORDERS)
def test_each_way_to_misbehave_under_each_schedule(order: str) -> None:
    """One misbehaving member at a time; the wrapper, and a wrapper around it, go on as before."""
    if order == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    kinds = [Recipe(ValueError, False, ((name, GeneratorExit),)) for name in (*HOOKS, *PLACES)]
    errors = [kind.make() for kind in kinds]

    def fail(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        raise errors[int(x[0])]

    inner = microbatch.wrap(fail, backend="cpu", **{"num_ubatches": 2, **ORDERS[order]})
    outer = microbatch.wrap(lambda x: inner(x), backend="cpu", **{"num_ubatches": 2, **ORDERS[order]})
    with inner, outer:
        for number, kind in enumerate(kinds):
            for wrapped in (inner, outer):
                caught = raised_by(lambda: wrapped(np.full(8, number)))  # noqa: B023 - called at once
                assert id(caught) == id(errors[number]), f"{kind}: {describe(caught)} instead"


@pytest.mark.counted
@given(
    how=st.sampled_from(sorted(ORDERS)).map(ORDERS.__getitem__),
    made_of=st.tuples(recipes(*BASES), recipes(*BASES)),
    late=st.booleans(),
)
def test_a_strange_error_of_a_function_is_what_the_caller_gets(
    how: dict[str, Any], made_of: tuple[Recipe, Recipe], late: bool
) -> None:
    """Under every schedule, whole, and where both parts raise: one of the two objects, never another."""
    if how.get("driver") == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    errors = [recipe.make() for recipe in made_of]

    def fail(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if late and x[0] == 0 and len(x) < 8:
            return x
        raise errors[int(x[0] > 0)]

    with microbatch.wrap(fail, backend="cpu", **{"num_ubatches": 2, **how}) as wrapped:
        caught = raised_by(lambda: wrapped(np.arange(8.0)))
        if is_a(caught, StepOutOfMemoryError):  # after retries: the cause is the function's own
            caught = cause_of(caught)
        assert id(caught) in map(id, errors), f"{describe(caught)} instead"


def describe(error: BaseException | None) -> str:
    """Text for a failing test; the error itself cannot be shown."""
    return "nothing" if error is None else described(error)


@given(recipes(ValueError, RuntimeError, SystemExit))
def test_a_strange_error_while_the_function_is_tried_is_what_the_caller_gets(recipe: Recipe) -> None:
    """Three calls on a few rows come first where a function is to be cut."""

    def fail(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        raise recipe.make()

    with microbatch.wrap(fail, backend="cpu", num_ubatches=2) as wrapped:
        caught = raised_by(lambda: wrapped(np.arange(64.0)))
    assert (name_of(caught), is_a(caught, recipe.base)) == ("Strange", True), f"{describe(caught)} instead"


@pytest.mark.counted
@pytest.mark.parametrize("order", [order for order in ORDERS if order != "whole"])
@pytest.mark.parametrize("failing", [0, 1])
def test_what_a_device_keeps_around_a_ubatch_does_not_touch_its_error(order: str, failing: int) -> None:
    """Thread states and streams are entered around each ubatch. A `contextmanager` writes to what passes."""
    if order == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    device = AdversarialBackend()
    kinds = [Recipe(ValueError, False, ((name, GeneratorExit),)) for name in (*HOOKS, *PLACES)]
    errors = [kind.make() for kind in kinds]

    def fail(x: Any, error: int) -> Any:
        if len(x) == 2 + 4 * failing:
            raise errors[error]
        return x

    slices = [UBatchSlice.from_range(0, 2, 0, 2), UBatchSlice.from_range(2, 8, 2, 8)]
    with microbatch.wrap(
        fail, backend=device.name, plugins=GivenBackends(device), **ORDERS[order]
    ) as wrapped:
        for number, kind in enumerate(kinds):
            x = device.array(np.arange(8.0))
            caught = raised_by(lambda: wrapped(x, number, ubatch_slices=slices))  # noqa: B023 - called at once
            assert id(caught) == id(errors[number]), f"{kind}: {describe(caught)} instead"


class Grumbling(AdversarialBackend):
    """A device that does not say what an error means, but raises."""

    def classify(self, error: BaseException) -> FailureKind:
        raise SystemExit("a backend's own trouble")


@pytest.mark.counted
def test_a_backend_that_cannot_classify_an_error_does_not_replace_it() -> None:
    """What it raises counts as: the error means nothing special."""
    device, error = Grumbling(), MemoryError("the function's own")

    def fail(x: Any) -> Any:
        raise error

    with microbatch.wrap(fail, backend=device.name, plugins=GivenBackends(device), num_ubatches=2) as wrapped:
        assert raised_by(lambda: wrapped(device.array(np.arange(8.0)))) is error


class Learner:
    """A policy that raises where it is shown a step that failed."""

    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(count=2)

    def observe(self, report: StepReport) -> None:
        raise GeneratorExit("a policy's own trouble")


@pytest.mark.counted
def test_a_policy_that_raises_at_a_failed_step_does_not_replace_its_error() -> None:
    """The function's error reaches the caller, and a note tells of the policy."""
    error = ValueError("the function's own")

    def fail(x: Any) -> Any:
        raise error

    with microbatch.wrap(fail, plugins=GivenPolicy(Learner()), policy="given") as wrapped:
        assert raised_by(lambda: wrapped(np.arange(8.0))) is error
    assert any("GeneratorExit: a policy's own trouble" in told for told in error.__notes__)
