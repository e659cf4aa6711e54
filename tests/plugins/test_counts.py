"""`fixed`, `threshold` and `tokens`: what the configuration says, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import SizingRequest
from microbatch_policies.counts import Fixed, Threshold, Tokens


def request(num_tokens: int, **fields: object) -> SizingRequest:
    return SizingRequest(num_tokens=num_tokens, num_requests=num_tokens, **fields)  # type: ignore[arg-type]


@given(st.integers(1, 10_000), st.integers(2, 16))
def test_fixed_asks_for_the_count_and_bounds_no_size(num_tokens: int, count: int) -> None:
    answer = Fixed(count).propose(request(num_tokens))
    assert (answer.count, answer.limit, answer.split, answer.hard) == (count, None, True, False)


def test_fixed_follows_the_configuration() -> None:
    assert Fixed().propose(request(9, num_ubatches=3)).count == 3
    assert Fixed(2).propose(request(9, num_ubatches=3)).count == 2
    assert not Fixed(1).propose(request(9)).split


def test_fixed_answers_the_same_numbers_with_the_same_object() -> None:
    policy = Fixed()
    first = policy.propose(request(9, num_ubatches=3))
    assert policy.propose(request(9, num_ubatches=3, step=1)) is first
    assert policy.propose(request(8, num_ubatches=3)) is first
    assert policy.propose(request(8, num_ubatches=2)).count == 2
    assert policy.propose(request(8, num_ubatches=4)).count == 4


def test_threshold_splits_from_the_threshold_on() -> None:
    policy = Threshold()
    assert not policy.propose(request(31, decode=True)).split
    assert policy.propose(request(32, decode=True)).count == 2
    assert not policy.propose(request(511)).split
    assert policy.propose(request(512, num_ubatches=3)).count == 3
    assert "prefill threshold 512" in policy.propose(request(511)).reason


def test_tokens_is_a_hard_budget() -> None:
    answer = Tokens().propose(request(2000, max_tokens=512))
    assert (answer.limit, answer.hard) == (512, True)
    assert Tokens(64).propose(request(2000, max_tokens=512)).limit == 64
    assert Tokens().propose(request(100, max_tokens=512)).limit == 100


def test_a_cost_is_named_as_padded_units() -> None:
    assert Tokens().propose(request(2000, unit="cost")).reason == "at most 512 padded units each"
