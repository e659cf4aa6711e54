"""Which policy is asked where none, or one, is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import Layout, UBatchConfig
from microbatch.binding.rules import tokens
from microbatch.options.sources import resolve
from microbatch.sizing.policies import cap_set, policy_names
from microbatch.testing.given_plugins import GivenPolicy

ROWS = Layout(inputs={"x": tokens()}, outputs={"output": tokens()})


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, "auto"),
        ({"num_ubatches": 3}, "fixed"),
        ({"num_ubatches": 2}, "fixed"),
        ({"max_tokens_per_ubatch": 512}, "tokens"),
        ({"num_ubatches": 3, "max_tokens_per_ubatch": 9}, "fixed,tokens"),
        ({"policy": "auto", "num_ubatches": 3}, "auto"),
        ({"policy": "memory-model, fixed"}, "memory-model,fixed"),
        ({"schedule": "pingpong"}, "fixed"),
        ({"schedule": "pingpong", "num_ubatches": 3}, "fixed"),
        ({"schedule": "pingpong", "max_tokens_per_ubatch": 9}, "fixed,tokens"),
        ({"schedule": "pingpong", "policy": "auto"}, "auto"),
        ({"schedule": "pingpong", "policy": "threshold"}, "threshold"),
        ({"schedule": "streamed"}, "auto"),
    ],
)
def test_the_names(options: dict[str, Any], names: str) -> None:
    assert ",".join(policy_names(resolve(**options))) == names


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (UBatchConfig(num_ubatches=2, schedule="pingpong"), "fixed"),
        (UBatchConfig(schedule="pingpong", policy="threshold"), "threshold"),
        (UBatchConfig(num_ubatches=3), "fixed"),
        (UBatchConfig(), "auto"),
    ],
)
def test_the_names_for_a_record_of_options(config: UBatchConfig, names: str) -> None:
    assert ",".join(policy_names(resolve(config))) == names


def test_pingpong_from_any_source_follows_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with microbatch.config(schedule="pingpong"):
        assert policy_names(resolve()) == ("fixed",)
    monkeypatch.setenv("MICROBATCH_SCHEDULE", "pingpong")
    assert policy_names(resolve()) == ("fixed",)
    monkeypatch.setenv("MICROBATCH_POLICY", "auto")
    assert policy_names(resolve()) == ("auto",)


def test_a_budget_is_a_cap_only_where_it_was_set() -> None:
    assert cap_set(resolve()) is None
    assert cap_set(resolve(max_tokens_per_ubatch=512)) == 512
    assert cap_set(resolve(UBatchConfig(max_tokens_per_ubatch=7))) == 7
    assert cap_set(resolve(UBatchConfig())) is None


@pytest.mark.parametrize("driver", ["threads", "greenlets"])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("rows", [2, 5, 4096])
def test_ubatches_that_take_turns_are_as_many_as_asked_for(driver: str, count: int, rows: int) -> None:
    if driver == "greenlets":
        pytest.importorskip("greenlet")
    calls: list[int] = []

    def model(x: Any) -> Any:
        calls.append(len(x))
        return x * 2

    config = UBatchConfig(num_ubatches=count, schedule="pingpong", driver=driver)
    with microbatch.UBatchWrapper(model, config, layout=ROWS) as wrapped:
        for _ in range(2):
            calls.clear()
            np.testing.assert_array_equal(wrapped(np.arange(rows)), np.arange(rows) * 2)
            assert wrapped.last_report is not None
            assert len(calls) == len(wrapped.last_report.sizes) == min(count, rows)
            assert wrapped.last_report.policy == "fixed"


def test_what_a_policy_cannot_learn_from_is_not_lost() -> None:
    """The step has ended: its result reaches the caller, with one warning a wrapper."""

    class Forgetful:
        def propose(self, request: microbatch.SizingRequest) -> microbatch.Proposal:
            return microbatch.Proposal(limit=3)

        def observe(self, report: microbatch.StepReport) -> None:
            raise KeyError("table")

    x = np.arange(10.0)
    with microbatch.wrap(np.negative, plugins=GivenPolicy(Forgetful()), policy="given") as wrapped:
        with pytest.warns(RuntimeWarning, match="raised KeyError.* in observe.*the step is not affected"):
            assert np.array_equal(wrapped(x), -x)
        assert np.array_equal(wrapped(x), -x)
