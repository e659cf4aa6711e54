"""The conformance suite finds the policies it is meant to find."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from microbatch.errors import PolicyError
from microbatch.extend.records import Proposal, SizingRequest, StepReport
from microbatch.testing.policies import PolicySuite
from microbatch.testing.properties import PropertySuite

COUNTER = itertools.count(1)


class Good:
    """Half of the batch, and half of the smallest part that ran out of memory."""

    failed: int | None = None

    def propose(self, request: SizingRequest) -> Proposal:
        most = request.num_tokens if self.failed is None else min(self.failed, request.num_tokens)
        return Proposal(limit=max(1, most // 2))

    def observe(self, report: StepReport) -> None:
        if report.oom_sizes:
            self.failed = min(report.oom_sizes)


class NoSize(Good):
    """Answers sizes that no part can have."""

    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(limit=0)


class Generous(Good):
    """Allows more than there is, which is to run the batch whole."""

    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(limit=request.num_tokens + 1)


class Counting(Good):
    """Asks for parts by their number, more than most batches can fill."""

    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(count=40)


class Shared(Good):
    """Remembers across instances."""

    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(limit=1 + next(COUNTER) % request.num_tokens)


class Stubborn(Good):
    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(limit=request.num_tokens)


class Contrary(Good):
    """Takes more when there is less memory and more pressure."""

    def propose(self, request: SizingRequest) -> Proposal:
        memory = request.memory
        roomy = memory is not None and memory.usable > 1 << 33 and memory.pressure < 0.5
        return Proposal(limit=1 if roomy else request.num_tokens)


class Perverse(Good):
    """Takes more when there is less memory, of any size."""

    def propose(self, request: SizingRequest) -> Proposal:
        memory = request.memory
        return Proposal(limit=1 if memory is not None and memory.usable > 1 << 20 else request.num_tokens)


class LearnsFromErrors(Good):
    def __init__(self) -> None:
        self.failures = 0

    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(limit=max(1, request.num_tokens >> self.failures))

    def observe(self, report: StepReport) -> None:
        self.failures += report.failure is not None


class Swings(Good):
    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(limit=max(1, request.num_tokens >> (request.step % 2)))


class NeverBack(Good):
    """Keeps the smallest reading for ever."""

    def __init__(self) -> None:
        self.least = 1 << 62

    def propose(self, request: SizingRequest) -> Proposal:
        if request.memory is not None:
            self.least = min(self.least, request.memory.usable)
        per_unit = 32 * max(1, request.bytes_per_unit)
        return Proposal(limit=max(1, min(request.num_tokens, self.least // per_unit)))


class Fussy(Good):
    """Wants to be told only of what it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def propose(self, request: SizingRequest) -> Proposal:
        self.asked = request.num_tokens
        return super().propose(request)

    def observe(self, report: StepReport) -> None:
        if report.num_tokens != self.asked:
            raise LookupError("who is that?")


class Unwritable(Good):
    """Keeps what JSON cannot say."""

    def state(self) -> dict[str, Any]:
        return {"sizes": {1, 2}}

    def restore(self, state: Any) -> None:
        raise ValueError("not ours")


class Hopeful(Good):
    """Grows with every step that ran, however small it was."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 1

    def propose(self, request: SizingRequest) -> Proposal:
        return Proposal(limit=min(request.num_tokens, self.size))

    def observe(self, report: StepReport) -> None:
        self.size += report.failure is None


class Upside(Good):
    """Takes long items for cheap ones."""

    def propose(self, request: SizingRequest) -> Proposal:
        size = request.largest_bytes_per_unit
        return Proposal(limit=max(1, request.num_tokens * size // (size + 256)))


class Promising(Good):
    """Answers the bound it has computed only after it has been asked for long."""

    asked = 0

    def propose(self, request: SizingRequest) -> Proposal:
        self.asked += 1
        return Proposal(limit=min(request.num_tokens, self.asked))


class Careless(Good):
    """Takes any state."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Any) -> None:
        pass


def suite(policy: type[Any]) -> Any:
    """A suite over `policy`, made in here so that pytest does not collect it."""

    class Made(PolicySuite):
        def make(self) -> Any:
            return policy()

    return Made()


def run(policy: type[Any], test: str) -> None:
    """Run one test of the suite; a failure is found, not shrunk, which is not what is tested here."""
    made = suite(policy)
    quick = settings(phases=(Phase.generate,), database=None, max_examples=200, report_multiple_bugs=False)
    check = getattr(type(made), f"check_{test}")
    strategies, _ = check.property_of_suite
    quick(given(**strategies)(lambda **drawn: check(made, **drawn)))()


BROKEN = [
    (NoSize, "answers_are_valid"),
    (Shared, "deterministic"),
    (Stubborn, "shrinks_below_a_failure"),
    (Stubborn, "never_runs_out_of_memory"),
    (Contrary, "less_memory_never_gives_more"),
    (Contrary, "more_pressure_never_gives_more"),
    (LearnsFromErrors, "a_failed_step_teaches_nothing"),
    (Swings, "settles"),
    (NeverBack, "recovers_when_memory_returns"),
    (Careless, "foreign_state_is_refused"),
    (Fussy, "any_report_may_be_observed"),
    (Hopeful, "part_full_batches_never_raise_the_size"),
    (Upside, "longer_items_never_give_more"),
    (Promising, "what_it_settles_on_has_run"),
    (Perverse, "settled_less_memory_never_gives_more"),
    (NoSize, "every_row_once_and_in_order"),
    (NoSize, "ends_whatever_fits"),
    (NoSize, "other_errors_are_never_retried"),
    (NoSize, "nothing_of_a_failed_attempt_is_alive"),
    (Unwritable, "state_survives_json"),
]
"""A policy, and a check that must notice what is wrong with it."""


def test_each_check_has_a_policy_that_it_notices() -> None:
    checks = {name.removeprefix("check_") for name in dir(PolicySuite) if name.startswith("check_")}
    assert {test for _, test in BROKEN} == checks


@pytest.mark.parametrize(("policy", "test"), BROKEN)
def test_a_policy_that_breaks_a_promise_fails(policy: type[Any], test: str) -> None:
    with pytest.raises(
        (AssertionError, PolicyError, LookupError, TypeError, pytest.fail.Exception, ExceptionGroup)
    ):
        run(policy, test)


@pytest.mark.parametrize(
    "test",
    [
        "answers_are_valid",
        "deterministic",
        "shrinks_below_a_failure",
        "settles",
        "less_memory_never_gives_more",
    ],
)
def test_a_good_policy_passes(test: str) -> None:
    run(Good, test)


@pytest.mark.parametrize("policy", [Generous, Counting])
@pytest.mark.parametrize("test", ["answers_are_valid", "every_row_once_and_in_order", "settles"])
def test_what_is_beyond_the_batch_is_a_valid_answer(policy: type[Any], test: str) -> None:
    run(policy, test)


def test_a_policy_without_state_skips_what_needs_it() -> None:
    with pytest.raises(pytest.skip.Exception, match="keeps no state"):
        run(Good, "state_survives_json")


def test_each_subclass_has_tests_of_its_own() -> None:
    one, two = type(suite(Good)), type(suite(Good))
    assert one.test_settles is not two.test_settles
    assert one.test_settles.__doc__


def test_a_misspelt_exception_is_refused() -> None:
    with pytest.raises(TypeError, match="setles"):
        type("Misspelt", (PolicySuite,), {"not_promised": {"setles": "no"}})


def test_a_check_may_be_replaced() -> None:
    class Base(PropertySuite):
        def test_own(self) -> None:
            """Kept."""

    assert Base.test_own.__doc__ == "Kept."
