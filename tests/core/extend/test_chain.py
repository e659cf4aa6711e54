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
    split=st.booleans(),
    reason=st.sampled_from(["", "memory", "speed"]),
    workers=st.none() | st.integers(1, 8),
    hard=st.booleans(),
)


@given(st.lists(proposals, min_size=1, max_size=5))
def test_the_chain_is_never_above_a_member(answers: list[Proposal]) -> None:
    made = chain(*answers).propose(REQUEST)
    if made.split:
        for answer in answers:
            if answer.limit is not None and (answer.hard or all(a.split for a in answers)):
                assert made.limit is not None and made.limit <= answer.limit
    for answer in answers:
        if answer.workers is not None:
            assert made.workers is not None and made.workers <= answer.workers


@given(st.lists(proposals, min_size=1, max_size=5))
def test_it_runs_whole_exactly_when_one_asks_and_no_hard_bound_forbids(answers: list[Proposal]) -> None:
    made = chain(*answers).propose(REQUEST)
    bound = any(a.hard and a.limit is not None and a.limit < 100 for a in answers)
    assert made.split == (bound or all(a.split for a in answers))


@given(st.lists(proposals, min_size=1, max_size=4), st.randoms())
def test_the_order_of_members_does_not_change_the_bound(answers: list[Proposal], random: Any) -> None:
    shuffled = random.sample(answers, len(answers))
    one, two = combine(answers, 100), combine(shuffled, 100)
    assert (one.limit, one.split, one.workers, one.hard) == (two.limit, two.split, two.workers, two.hard)


def test_a_member_sees_the_limit_of_those_before_it() -> None:
    made = chain(Proposal(limit=100), Proposal(limit=40), Proposal(limit=60), Proposal())
    made.propose(REQUEST)
    seen = [member.policy.requests[0].limit for member in made.members]  # type: ignore[attr-defined]
    assert seen == [None, None, 40, 40]


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
        Proposal(limit=101),
        Proposal(limit=True),
        Proposal(limit=2.0),  # type: ignore[arg-type]
        Proposal(limit=float("nan")),  # type: ignore[arg-type]
        Proposal(limit="8"),  # type: ignore[arg-type]
        Proposal(workers=0),
        Proposal(workers=1.5),  # type: ignore[arg-type]
        Proposal(split=None),  # type: ignore[arg-type]
        Proposal(hard=1),  # type: ignore[arg-type]
        Proposal(reason=None),  # type: ignore[arg-type]
    ],
)
def test_rubbish_is_an_error_that_names_policy_distribution_and_value(rubbish: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        checked(Says(rubbish), "mine", "acme-policies 1.2").propose(REQUEST)
    assert "'mine'" in str(caught.value) and "acme-policies 1.2" in str(caught.value)
    value = next(
        (v for v in (getattr(rubbish, f, None) for f in ("limit", "workers")) if v is not None),
        rubbish if not isinstance(rubbish, Proposal) else "",
    )
    assert repr(value) in str(caught.value) or value == ""


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
    answer = checked(Says(Proposal(limit=np.int64(7))), "mine").propose(REQUEST)  # type: ignore[arg-type]
    assert type(answer.limit) is int and answer.limit == 7


def test_the_same_answer_is_checked_again_for_a_smaller_batch() -> None:
    watched = checked(Says(Proposal(limit=80)), "mine")
    assert watched.propose(REQUEST).limit == 80
    assert watched.propose(REQUEST).limit == 80
    with pytest.raises(PolicyError, match="limit=80"):
        watched.propose(replace(REQUEST, num_tokens=50))


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
