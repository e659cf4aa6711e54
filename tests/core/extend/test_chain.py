"""Several policies as one: the limit never rises, rubbish never passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import PolicyError
from microbatch.extend.chain import Chain, checked, combine
from microbatch.extend.records import Proposal, SizingRequest, StepReport

REQUEST = SizingRequest(num_tokens=100, num_requests=100)
REPORT = StepReport(step=0, num_tokens=100, num_requests=100, sizes=(100,), seconds=1.0)


class Says:
    """Answers what it was given, and keeps what it saw."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[SizingRequest] = []
        self.reports: list[StepReport] = []

    def propose(self, request: SizingRequest) -> Any:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def observe(self, report: StepReport) -> None:
        self.reports.append(report)
        if isinstance(self.answer, Exception):
            raise self.answer


class Keeps(Says):
    """Has state."""

    def __init__(self, value: int) -> None:
        super().__init__(Proposal())
        self.value = value

    def state(self) -> dict[str, int]:
        return {"value": self.value}

    def restore(self, state: Any) -> None:
        if "value" not in state:
            raise ValueError("foreign")
        self.value = state["value"]


def chain(*answers: Proposal) -> Chain:
    return Chain([(f"p{index}", Says(answer)) for index, answer in enumerate(answers)])


proposals = st.builds(
    Proposal,
    limit=st.none() | st.integers(1, 100),
    count=st.none() | st.integers(1, 120),
    split=st.booleans(),
    reason=st.sampled_from(["", "memory", "speed"]),
    workers=st.none() | st.integers(1, 8),
    hard=st.booleans(),
)


@given(st.lists(proposals, min_size=1, max_size=5))
def test_the_chain_is_never_above_a_member(answers: list[Proposal]) -> None:
    """A hard limit holds; one that is not hard holds too, or the count gives even parts within it."""
    made = chain(*answers).propose(REQUEST)
    if made.split:
        for answer in answers:
            if answer.limit is not None and (answer.hard or all(a.split for a in answers)):
                within = made.limit is not None and made.limit <= answer.limit
                counted = made.count is not None and -(-100 // made.count) <= answer.limit
                assert within or (counted and not answer.hard)
    for answer in answers:
        if answer.workers is not None:
            assert made.workers is not None and made.workers <= answer.workers


@given(st.lists(proposals, min_size=1, max_size=5))
def test_it_runs_whole_exactly_when_one_asks_and_no_hard_bound_forbids(answers: list[Proposal]) -> None:
    made = chain(*answers).propose(REQUEST)
    bound = any(a.hard and a.limit is not None and a.limit < 100 for a in answers)
    assert made.split == (bound or all(a.split for a in answers))


@given(st.lists(proposals, min_size=1, max_size=5))
def test_a_count_is_the_highest_and_gives_way_to_do_not_split(answers: list[Proposal]) -> None:
    made = chain(*answers).propose(REQUEST)
    counts = [answer.count for answer in answers if answer.count is not None]
    asked = counts and all(answer.split for answer in answers)
    assert made.count == (max(counts) if asked else None)


@given(st.lists(proposals, min_size=1, max_size=4), st.randoms())
def test_the_order_of_members_does_not_change_the_bound(answers: list[Proposal], random: Any) -> None:
    shuffled = random.sample(answers, len(answers))
    one, two = combine(answers, 100), combine(shuffled, 100)
    assert replace(one, reason="") == replace(two, reason="")


def test_a_member_sees_the_limit_of_those_before_it() -> None:
    made = chain(Proposal(limit=100), Proposal(limit=40), Proposal(limit=60), Proposal())
    made.propose(REQUEST)
    seen = [member.policy.requests[0].limit for member in made.members]  # type: ignore[attr-defined]
    assert seen == [None, None, 40, 40]


def test_a_member_sees_what_a_count_before_it_comes_to() -> None:
    made = chain(Proposal(count=3), Proposal(limit=50), Proposal(count=2), Proposal(count=7), Proposal())
    made.propose(REQUEST)
    seen = [member.policy.requests[0].limit for member in made.members]  # type: ignore[attr-defined]
    assert seen == [None, 34, 34, 34, 15]


@pytest.mark.parametrize(
    ("member", "limit"),
    [
        (Proposal(limit=34), None),  # repeats what it was shown, or allows more than the count gives
        (Proposal(limit=60), None),
        (Proposal(limit=33), 33),  # less than the count gives: more parts
        (Proposal(limit=34, hard=True), 34),  # hard limits hold even where the parts of a count are uneven
        (Proposal(limit=60, hard=True), 60),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_what_a_limit_is_beside_a_count(member: Proposal, limit: int | None, order: int) -> None:
    made = chain(*[Proposal(count=3), member][::order]).propose(REQUEST)
    assert (made.count, made.limit, made.split) == (3, limit, True)


def test_a_policy_that_repeats_what_it_was_shown_keeps_the_count() -> None:
    class Echo(Says):
        def propose(self, request: SizingRequest) -> Any:
            return Proposal(limit=request.limit or request.num_tokens)

    made = Chain([("fixed", Says(Proposal(count=3))), ("echo", Echo(None))]).propose(REQUEST)
    assert (made.count, made.limit) == (3, None)


def test_reasons_are_joined_once_each() -> None:
    made = chain(Proposal(reason="memory"), Proposal(), Proposal(reason="speed"), Proposal(reason="memory"))
    assert made.propose(REQUEST).reason == "memory; speed"


def test_every_member_observes() -> None:
    made = chain(Proposal(), Proposal())
    made.observe(REPORT)
    seen = [member.policy.reports for member in made.members]  # type: ignore[attr-defined]
    assert seen == [[REPORT], [REPORT]]


def test_an_empty_chain_is_refused() -> None:
    with pytest.raises(PolicyError, match="empty"):
        Chain([])


@pytest.mark.parametrize(
    "rubbish",
    [
        None,
        "8",
        12,
        Proposal(limit=0),
        Proposal(limit=-1),
        Proposal(limit=True),
        Proposal(limit=2.0),  # type: ignore[arg-type]
        Proposal(limit=float("nan")),  # type: ignore[arg-type]
        Proposal(limit="8"),  # type: ignore[arg-type]
        Proposal(count=0),
        Proposal(count=-3),
        Proposal(count=True),
        Proposal(count=2.0),  # type: ignore[arg-type]
        Proposal(count=float("inf")),  # type: ignore[arg-type]
        Proposal(workers=0),
        Proposal(workers=1.5),  # type: ignore[arg-type]
        Proposal(start=0),
        Proposal(split=None),  # type: ignore[arg-type]
        Proposal(hard=1),  # type: ignore[arg-type]
        Proposal(reason=None),  # type: ignore[arg-type]
    ],
)
def test_rubbish_is_an_error_that_names_policy_distribution_and_value(rubbish: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        checked(Says(rubbish), "mine", "acme-policies 1.2").propose(REQUEST)
    assert "'mine'" in str(caught.value) and "acme-policies 1.2" in str(caught.value)
    said = [rubbish]
    if isinstance(rubbish, Proposal):
        said = [v for v in (rubbish.limit, rubbish.count, rubbish.workers, rubbish.start) if v is not None]
    assert all(repr(value) in str(caught.value) for value in said)


@pytest.mark.parametrize("method", ["propose", "observe"])
def test_an_error_of_the_policy_is_chained(method: str) -> None:
    cause = KeyError("signature")
    watched = checked(Says(cause), "mine")
    with pytest.raises(PolicyError, match=f"'mine' raised KeyError.*{method}") as caught:
        getattr(watched, method)(REQUEST if method == "propose" else REPORT)
    assert caught.value.__cause__ is cause


def test_an_interrupt_is_not_the_policys_error() -> None:
    class Interrupted(Says):
        def propose(self, request: SizingRequest) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checked(Interrupted(None), "mine").propose(REQUEST)


def test_a_numpy_count_becomes_an_int() -> None:
    said = Proposal(limit=np.int64(7), count=np.int64(3))  # type: ignore[arg-type]
    answer = checked(Says(said), "mine").propose(REQUEST)
    assert type(answer.limit) is int and answer.limit == 7
    assert type(answer.count) is int and answer.count == 3


@given(st.integers(1, 2**70), st.integers(0, 200))
def test_a_limit_beyond_the_batch_is_the_batch(limit: int, num_tokens: int) -> None:
    answer = checked(Says(Proposal(limit=limit, reason="mine")), "mine").propose(
        replace(REQUEST, num_tokens=num_tokens)
    )
    assert answer == Proposal(limit=min(limit, max(1, num_tokens)), reason="mine")


def test_the_same_answer_is_checked_again_for_another_batch() -> None:
    watched, smaller = checked(Says(Proposal(limit=80)), "mine"), replace(REQUEST, num_tokens=50)
    sizes = (REQUEST, REQUEST, smaller, smaller, REQUEST)
    assert [watched.propose(request).limit for request in sizes] == [80, 80, 50, 50, 80]


def test_the_same_answer_to_the_same_numbers_is_the_same_object() -> None:
    """Also where it had to be changed: a plan is kept as long as the answer stays the same."""
    for limit in (80, 101, np.int64(80)):
        watched = checked(Says(Proposal(limit=limit)), "mine")  # type: ignore[arg-type]
        assert watched.propose(REQUEST) is watched.propose(REQUEST)


def test_state_goes_by_name_and_place() -> None:
    made = Chain([("a", Keeps(1)), ("b", Says(Proposal())), ("a", Keeps(2))])
    state = made.state()
    fresh = Chain([("a", Keeps(0)), ("b", Says(Proposal())), ("a", Keeps(0))])
    fresh.restore(state)
    assert fresh.state() == state


@pytest.mark.parametrize("foreign", [{}, {"0:a": {"value": 5}}, {"0:a": {"value": 5}, "1:a": {}}, None])
def test_foreign_state_changes_no_member(foreign: Any) -> None:
    made = Chain([("a", Keeps(1)), ("a", Keeps(2))])
    with pytest.raises(ValueError):
        made.restore(foreign)
    assert [member.state() for member in made.members] == [{"value": 1}, {"value": 2}]


def test_a_policy_without_state_takes_none() -> None:
    watched = checked(Says(Proposal()), "mine")
    watched.restore({})
    with pytest.raises(ValueError, match="keeps no state"):
        watched.restore({"value": 1})
