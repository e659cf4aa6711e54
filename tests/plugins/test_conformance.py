"""Every built-in policy keeps the promises of `PolicySuite`."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

import pytest

from microbatch.extend.chain import Chain
from microbatch.extend.protocols import SizingPolicy
from microbatch.testing.policies import GROUPS, PolicySuite
from microbatch_policies import microbatch_register_policies
from microbatch_policies.auto import Auto
from microbatch_policies.buckets import Buckets
from microbatch_policies.counts import Fixed, Threshold, Tokens
from microbatch_policies.latency import Latency
from microbatch_policies.memory.memory_model import MemoryModel
from microbatch_policies.pressure import Pressure
from microbatch_policies.speed.throughput import Throughput

NO_MEMORY = "looks at no memory; that is for memory-model before it in a chain"
NO_READING = {"shrinks_below_a_failure": NO_MEMORY, "never_runs_out_of_memory": NO_MEMORY}
SEARCHES = "while it measures, a smaller limit may have it try another side of the curve first"


class TestFixed(PolicySuite):
    not_promised: ClassVar = NO_READING

    def make(self) -> SizingPolicy:
        return Fixed()


class TestThreshold(PolicySuite):
    not_promised: ClassVar = NO_READING

    def make(self) -> SizingPolicy:
        return Threshold()


class TestTokens(PolicySuite):
    not_promised: ClassVar = NO_READING

    def make(self) -> SizingPolicy:
        return Tokens()


class TestBuckets(PolicySuite):
    not_promised: ClassVar = NO_READING

    def make(self) -> SizingPolicy:
        return Buckets()


class TestPressure(PolicySuite):
    not_promised: ClassVar = NO_READING

    def make(self) -> SizingPolicy:
        return Pressure()


class TestLatency(PolicySuite):
    not_promised: ClassVar = {
        **NO_READING,
        "part_full_batches_never_raise_the_size": "each ubatch is timed, so small ones are evidence",
    }

    def make(self) -> SizingPolicy:
        return Latency(deadline=0.01)


class TestThroughput(PolicySuite):
    not_promised: ClassVar = NO_READING

    def make(self) -> SizingPolicy:
        return Throughput()


class TestMemoryModel(PolicySuite):
    def make(self) -> SizingPolicy:
        return MemoryModel()


class TestAuto(PolicySuite):
    not_promised: ClassVar = {
        "less_memory_never_gives_more": SEARCHES,
        "more_pressure_never_gives_more": SEARCHES,
    }

    def make(self) -> SizingPolicy:
        return Auto()


class TestAChain(PolicySuite):
    def make(self) -> SizingPolicy:
        return Chain([("memory-model", MemoryModel()), ("pressure", Pressure()), ("buckets", Buckets())])


def suites() -> list[type[PolicySuite]]:
    """Those of this file."""
    return [suite for suite in PolicySuite.__subclasses__() if suite.__module__ == __name__]


def test_the_twelve_properties_are_all_of_the_suite() -> None:
    assert [int(name.split(" ")[0]) for name in GROUPS] == list(range(1, 13))
    named = [check for checks in GROUPS.values() for check in checks]
    assert len(named) == len(set(named))
    assert set(named) == {
        name.removeprefix("check_") for name in dir(PolicySuite) if name.startswith("check_")
    }


@pytest.mark.parametrize("group", GROUPS)
def test_each_property_is_run_for_each_policy_or_has_a_reason(group: str) -> None:
    for suite in suites():
        run = [check for check in GROUPS[group] if check not in suite.not_promised]
        assert all(callable(getattr(suite, f"test_{check}")) for check in run)
        # a budget of bytes is promised by whoever looks at memory, alone or in a chain
        assert run or (group == "3 budget" and suite.not_promised["never_runs_out_of_memory"] == NO_MEMORY)
        assert not suite.expected_failures


def test_what_looks_at_memory_promises_all_twelve() -> None:
    for suite in (TestMemoryModel, TestAuto, TestAChain):
        assert all(set(checks) - set(suite.not_promised) for checks in GROUPS.values())


def test_every_registered_policy_loads_and_is_tested_here() -> None:
    tested = {type(suite().make()) for suite in suites()}
    for info in microbatch_register_policies():
        module, _, name = info.load.partition(":")
        made: Any = getattr(import_module(module), name)
        assert made in tested
        assert isinstance(made(), SizingPolicy)
        assert info.summary


@pytest.mark.parametrize(
    ("policy", "options"),
    [
        (Fixed, {"num_ubatches": 0}),
        (Fixed, {"num_ubatches": True}),
        (Threshold, {"decode": -1}),
        (Threshold, {"prefill": 0.5}),
        (Tokens, {"max_tokens": 0}),
        (MemoryModel, {"risk": 0}),
        (MemoryModel, {"share": 1.5}),
        (MemoryModel, {"forgetting": "0.9"}),
        (Pressure, {"low": 0.9, "high": 0.8}),
        (Pressure, {"high": True}),
        (Latency, {"deadline": 0}),
        (Latency, {"deadline": float("inf")}),
        (Buckets, {"sizes": [0, 1]}),
        (Buckets, {"sizes": []}),
    ],
)
def test_a_bad_option_is_named(policy: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        policy(**options)
