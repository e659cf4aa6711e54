"""`fixed`, `threshold` and `tokens`: what the configuration says, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from microbatch.extend.records import SizingRequest
from microbatch_policies.counts import Fixed, Threshold, Tokens


def request(num_tokens: int, **fields: object) -> SizingRequest:
    return SizingRequest(num_tokens=num_tokens, num_requests=num_tokens, **fields)  # type: ignore[arg-type]


@given(st.integers(2, 10_000), st.integers(2, 16))
def test_fixed_gives_the_count_where_there_are_rows_for_it(num_tokens: int, count: int) -> None:
    limit = Fixed(count).propose(request(num_tokens)).limit
    assert limit is not None
    parts = -(-num_tokens // limit)
    assert parts <= count
    assert (
        parts == count or num_tokens < count * limit
    )  # no size of equal parts gives more without exceeding it
    assert limit * count >= num_tokens > (limit - 1) * count


def test_fixed_follows_the_configuration() -> None:
    assert Fixed().propose(request(9, num_ubatches=3)).limit == 3
    assert Fixed(2).propose(request(9, num_ubatches=3)).limit == 5
    assert not Fixed(1).propose(request(9)).split


def test_fixed_answers_the_same_numbers_with_the_same_object() -> None:
    policy = Fixed()
    first = policy.propose(request(9, num_ubatches=3))
    assert policy.propose(request(9, num_ubatches=3, step=1)) is first
    assert policy.propose(request(8, num_ubatches=2)).limit == 4
    assert policy.propose(request(8, num_ubatches=4)).limit == 2


def test_threshold_splits_from_the_threshold_on() -> None:
    policy = Threshold()
    assert not policy.propose(request(31, decode=True)).split
    assert policy.propose(request(32, decode=True)).limit == 16
    assert not policy.propose(request(511)).split
    assert policy.propose(request(512)).limit == 256
    assert "prefill threshold 512" in policy.propose(request(511)).reason


def test_tokens_is_a_hard_budget() -> None:
    answer = Tokens().propose(request(2000, max_tokens=512))
    assert (answer.limit, answer.hard) == (512, True)
    assert Tokens(64).propose(request(2000, max_tokens=512)).limit == 64
    assert Tokens().propose(request(100, max_tokens=512)).limit == 100


def test_a_cost_is_named_as_padded_units() -> None:
    assert Tokens().propose(request(2000, unit="cost")).reason == "at most 512 padded units each"
