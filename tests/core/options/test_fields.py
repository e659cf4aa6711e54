"""A UBatchConfig is valid or does not exist; each refusal names the field and what to give."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError, ArgumentValueError, MicrobatchError, UnknownNameError
from microbatch.options.fields import _OPTIONS, DRIVERS, SCHEDULES, SPLITTERS, UBatchConfig

COUNTS = ("num_ubatches", "max_tokens_per_ubatch", "thread_pool_size", "max_ubatches")
SWITCHES = ("enable_overlap", "strict_yields", "thread_safe")
NAMES = ("backend", "policy", "splitter", "schedule", "driver")


def test_the_defaults_are_those_of_the_house_plan() -> None:
    config = UBatchConfig()
    assert (config.num_ubatches, config.max_tokens_per_ubatch, config.thread_pool_size) == (2, 512, 4)
    assert (config.barrier_timeout, config.enable_overlap) == (30.0, True)
    assert (config.backend, config.policy, config.schedule, config.driver) == (
        "auto",
        "auto",
        "auto",
        "threads",
    )


def test_every_field_has_a_check() -> None:
    assert all(callable(field.metadata["check"]) for field in dataclasses.fields(UBatchConfig))
    assert {field.name for field in dataclasses.fields(UBatchConfig)} == set(_OPTIONS)


@pytest.mark.parametrize("field", COUNTS)
@pytest.mark.parametrize("value", [0, -1, -(10**30), 10**30], ids=repr)
def test_counts_outside_their_range_are_refused(field: str, value: int) -> None:
    with pytest.raises(ArgumentValueError, match=rf"{field} is {value}; it must be from 1 to \d+"):
        UBatchConfig(**{field: value})


@pytest.mark.parametrize("field", COUNTS)
@pytest.mark.parametrize(
    "value", [True, False, np.True_, 2.0, float("nan"), "2", None, b"2", [2], Fraction(2)], ids=repr
)
def test_counts_of_a_wrong_kind_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=rf"{field} is .*; give a whole number"):
        UBatchConfig(**{field: value})


@given(st.sampled_from(COUNTS), st.integers(2, 4096), st.sampled_from([int, np.int32, np.int64, np.uint16]))
def test_integers_of_any_make_become_int(field: str, value: int, make: Any) -> None:
    got = getattr(UBatchConfig(**{field: make(value)}), field)
    assert got == value
    assert type(got) is int


def test_more_ubatches_than_the_cap_are_refused() -> None:
    with pytest.raises(ArgumentValueError, match="num_ubatches is 1000000000, above the cap of 65536"):
        UBatchConfig(num_ubatches=10**9)
    assert UBatchConfig(num_ubatches=10**9, max_ubatches=10**9).num_ubatches == 10**9


@pytest.mark.parametrize("value", [0, -1, -0.5, float("nan"), float("inf"), float("-inf"), 1e10], ids=repr)
def test_impossible_timeouts_are_refused(value: float) -> None:
    with pytest.raises(ArgumentValueError, match=r"barrier_timeout is .*; give a positive number of seconds"):
        UBatchConfig(barrier_timeout=value)


@pytest.mark.parametrize("value", [True, "30", b"30", [30], {}], ids=repr)
def test_timeouts_of_a_wrong_kind_are_refused(value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"barrier_timeout is .*; give a positive number of seconds"):
        UBatchConfig(barrier_timeout=value)


@pytest.mark.parametrize("value", [30, 0.25, np.float32(0.25), Decimal("0.25"), Fraction(1, 4)], ids=repr)
def test_numbers_of_any_make_become_seconds(value: Any) -> None:
    got = UBatchConfig(barrier_timeout=value).barrier_timeout
    assert got == float(value)
    assert type(got) is float


def test_no_timeout_is_none() -> None:
    assert UBatchConfig(barrier_timeout=None).barrier_timeout is None


@pytest.mark.parametrize("field", SWITCHES)
@pytest.mark.parametrize("value", [1, 0, None, "true", np.True_], ids=repr)
def test_switches_take_true_and_false_only(field: str, value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=rf"{field} is .*; give True or False"):
        UBatchConfig(**{field: value})


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize("value", [None, 3, True, ["even"], b"even"], ids=repr)
def test_names_of_a_wrong_kind_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=rf"{field} is .*; give a name as text"):
        UBatchConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "near"),
    [("splitter", "evn", "even"), ("schedule", "ping-pong", "pingpong"), ("driver", "greenlet", "greenlets")],
)
def test_unknown_names_get_the_near_match(field: str, value: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=f"{field} '{value}' does not exist; did you mean '{near}'"):
        UBatchConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "known"), [("splitter", SPLITTERS), ("schedule", SCHEDULES), ("driver", DRIVERS)]
)
def test_all_known_names_are_taken(field: str, known: tuple[str, ...]) -> None:
    assert [getattr(UBatchConfig(**{field: name}), field) for name in known] == list(known)


@pytest.mark.parametrize("value", ["", " ", ",", "fixed,", "fixed,,tokens"], ids=repr)
def test_a_chain_with_a_hole_is_refused(value: str) -> None:
    with pytest.raises(ArgumentValueError, match=r"policy is .*; give a name"):
        UBatchConfig(policy=value)


def test_a_chain_loses_its_blanks() -> None:
    assert UBatchConfig(policy=" fixed , tokens ").policy == "fixed,tokens"


def test_a_memory_limit_may_be_text() -> None:
    assert UBatchConfig(memory_limit="2GiB").memory_limit == 2**31  # type: ignore[arg-type]
    with pytest.raises(ArgumentValueError, match="memory_limit: '2G' has no unit"):
        UBatchConfig(memory_limit="2G")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [True, 0.5, float("nan"), [1]], ids=repr)
def test_a_memory_limit_of_a_wrong_kind_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="memory_limit is"):
        UBatchConfig(memory_limit=value)


def test_a_history_is_a_path() -> None:
    assert UBatchConfig(history=Path("a/b.json")).history == str(Path("a/b.json"))  # type: ignore[arg-type]
    for value in ("", "  ", "a\0b"):
        with pytest.raises(ArgumentValueError, match="history is"):
            UBatchConfig(history=value)


anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())
)


@given(st.dictionaries(st.sampled_from(sorted(_OPTIONS)), anything, min_size=1, max_size=3))
def test_a_config_is_refused_as_promised_or_is_a_fixed_point(values: dict[str, Any]) -> None:
    """Only our errors come out; what was accepted is accepted again, unchanged."""
    try:
        config = UBatchConfig(**values)
    except MicrobatchError as error:
        assert any(field in str(error) for field in values)
        return
    assert UBatchConfig(**dataclasses.asdict(config)) == config


def test_a_long_value_is_cut_short_in_the_text() -> None:
    with pytest.raises(UnknownNameError) as caught:
        UBatchConfig(splitter="x" * 10_000)
    assert len(str(caught.value)) < 300
