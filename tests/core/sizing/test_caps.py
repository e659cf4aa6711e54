"""A cap that was set holds under every policy; the default caps nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import Layout, Proposal, SizingRequest, StepReport, UBatchConfig
from microbatch.binding.rules import query_start_loc, tokens
from microbatch.loading.plugins import Plugins
from microbatch_policies import microbatch_register_policies

POLICIES = [info.name for info in microbatch_register_policies()]
ROWS = Layout(inputs={"x": tokens()}, outputs={"output": tokens()})
REQUESTS = Layout(inputs={"x": tokens(), "starts": query_start_loc()}, outputs={"output": tokens()})


def double(x: Any, starts: Any = None) -> Any:
    return x * 2


def wrap(layout: Layout = ROWS, **options: Any) -> Any:
    return microbatch.wrap(
        double, **{"layout": layout, "schedule": "sequential", "backend": "cpu", **options}
    )


@pytest.mark.parametrize("policy", [*POLICIES, "memory-model,throughput", "threshold,fixed"])
@pytest.mark.parametrize("splitter", ["even", "floor", "request-aligned", "packed"])
def test_no_part_is_above_a_cap_that_was_set(policy: str, splitter: str) -> None:
    """Each policy, also while it learns, and at batches that it would not cut."""
    for cap in (1, 4, 100):
        with wrap(policy=policy, splitter=splitter, max_tokens_per_ubatch=cap) as wrapped:
            for rows in (512, 512, 512, 3, cap + 1, 512):
                np.testing.assert_array_equal(wrapped(np.arange(rows)), np.arange(rows) * 2)
                assert max(wrapped.last_report.sizes) <= cap


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=20).filter(any),
    cap=st.integers(1, 40),
    splitter=st.sampled_from(["even", "floor", "request-aligned", "packed"]),
    policy=st.sampled_from(["auto", "fixed", "threshold", "latency"]),
)
def test_only_a_request_that_is_longer_is_above_the_cap_and_then_it_is_alone(
    lengths: list[int], cap: int, splitter: str, policy: str
) -> None:
    seen: list[tuple[int, int]] = []

    def note(x: Any, starts: Any) -> Any:
        seen.append((len(x), int(np.count_nonzero(np.diff(starts)))))
        return x * 2

    starts = np.concatenate(([0], np.cumsum(lengths)))
    options = {"splitter": splitter, "policy": policy, "max_tokens_per_ubatch": cap}
    with microbatch.wrap(note, layout=REQUESTS, schedule="sequential", **options) as wrapped:
        wrapped(np.arange(starts[-1]), starts)
    for size, requests in seen:
        assert size <= cap or (requests == 1 and splitter in ("request-aligned", "packed"))


def test_a_long_request_makes_no_other_part_larger_and_is_told_of() -> None:
    starts = np.array([0, 10, 13, 16, 19])
    with wrap(
        REQUESTS, policy="memory-model", splitter="request-aligned", max_tokens_per_ubatch=4
    ) as wrapped:
        wrapped(np.arange(19), starts)
        report = wrapped.last_report
        assert (report.sizes, report.limit) == ((10, 3, 3, 3), 10)
        assert report.reason == "max_tokens_per_ubatch=4"


@pytest.mark.parametrize("splitter", ["request-aligned", "packed"])
def test_one_request_that_is_longer_is_not_cut_for_the_cap(splitter: str) -> None:
    starts = np.array([0, 0, 10])
    with wrap(REQUESTS, policy="threshold", splitter=splitter, max_tokens_per_ubatch=4) as wrapped:
        wrapped(np.arange(10), starts)
        report = wrapped.last_report
        assert (report.sizes, report.schedule, report.limit) == ((10,), "whole", None)
        assert "max_tokens_per_ubatch" not in report.reason
        assert wrapped._engine.planner._last_plan[2].cut is None


def test_it_is_told_that_the_cap_made_more_parts_than_were_asked_for() -> None:
    with wrap(policy="fixed", max_tokens_per_ubatch=4) as wrapped:
        wrapped(np.arange(512))
        assert len(wrapped.last_report.sizes) == 128
        told = "2 ubatches asked for; 128 to keep max_tokens_per_ubatch=4"
        assert (wrapped.last_report.reason, wrapped.last_report.limit) == (told, 4)
        wrapped(np.arange(7))
        assert (wrapped.last_report.sizes, wrapped.last_report.reason) == ((4, 3), "2 ubatches asked for")


def test_a_count_and_a_cap_without_a_policy() -> None:
    with wrap(num_ubatches=3, max_tokens_per_ubatch=4) as wrapped:
        for rows, parts in ((2, 2), (3, 3), (12, 3), (13, 4), (100, 25)):
            wrapped(np.arange(rows))
            assert len(wrapped.last_report.sizes) == parts
        assert wrapped.last_report.policy == "fixed,tokens"
        assert "25 to keep the limit of 4" in wrapped.last_report.reason


def test_it_is_told_where_a_policy_would_not_have_cut() -> None:
    with wrap(policy="threshold", max_tokens_per_ubatch=4) as wrapped:
        wrapped(np.arange(8))
        assert wrapped.last_report.sizes == (4, 4)
        assert (
            wrapped.last_report.reason == "8 tokens, below the prefill threshold 512; max_tokens_per_ubatch=4"
        )


SOURCES = ("argument", "config argument", "scope", "environment", "file")


@pytest.mark.parametrize("source", SOURCES)
def test_it_counts_wherever_it_was_set(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"policy": "fixed"}
    if source == "argument":
        options["max_tokens_per_ubatch"] = 4
    elif source == "config argument":
        options = {"config": UBatchConfig(policy="fixed", max_tokens_per_ubatch=4)}
    elif source == "environment":
        monkeypatch.setenv("MICROBATCH_MAX_TOKENS_PER_UBATCH", "4")
    elif source == "file":
        (tmp_path / "microbatch.toml").write_text("max_tokens_per_ubatch = 4")
    with microbatch.config(**({"max_tokens_per_ubatch": 4} if source == "scope" else {})):
        wrapped = wrap(**options)
    with wrapped:
        wrapped(np.arange(64))
        assert wrapped.last_report.sizes == (4,) * 16


@pytest.mark.parametrize("policy", ["auto", "fixed"])
def test_the_default_budget_caps_nothing(policy: str) -> None:
    rows = 2 * UBatchConfig().max_tokens_per_ubatch + 100
    with wrap(policy=policy) as wrapped:
        wrapped(np.arange(rows))
        assert max(wrapped.last_report.sizes) > UBatchConfig().max_tokens_per_ubatch


def test_the_value_of_the_default_is_a_cap_where_it_was_given() -> None:
    with wrap(policy="fixed", max_tokens_per_ubatch=512) as wrapped:
        wrapped(np.arange(2000))
        assert wrapped.last_report.sizes == (500,) * 4


def test_slices_that_the_caller_gives_are_not_capped() -> None:
    given_slices = [microbatch.UBatchSlice.from_range(a, b, a, b) for a, b in ((0, 3), (3, 10))]
    with wrap(max_tokens_per_ubatch=4) as wrapped:
        wrapped(np.arange(10), ubatch_slices=given_slices)
        assert wrapped.last_report.sizes == (3, 7)


def test_a_policy_is_shown_the_cap_as_the_limit_so_far() -> None:
    """So that one that searches does not ask for sizes that may not run."""
    seen: list[int | None] = []

    class Spy:
        def propose(self, request: SizingRequest) -> Proposal:
            seen.append(request.limit)
            return Proposal(limit=request.num_tokens)

        def observe(self, report: StepReport) -> None:
            pass

    class Spies(Plugins):
        def policy(self, name: str, **options: Any) -> Any:
            return Spy()

    with wrap(policy="spy", plugins=Spies(), max_tokens_per_ubatch=4) as wrapped:
        for rows in (10, 5, 4, 3):
            wrapped(np.arange(rows))
        assert wrapped.last_report.sizes == (3,)
    assert seen == [4, 4, None, None]


def test_a_search_for_speed_settles_below_the_cap() -> None:
    with wrap(policy="throughput", max_tokens_per_ubatch=32) as wrapped:
        for _ in range(30):
            wrapped(np.ones((4096, 64)))
        assert "no measured size may run" not in wrapped.last_report.reason
        assert max(wrapped.last_report.sizes) <= 32


def test_a_thread_that_cannot_ask_the_policy_keeps_the_cap() -> None:
    """It takes the last answer, which was for another batch."""
    with wrap(policy="fixed", max_tokens_per_ubatch=4) as wrapped:
        wrapped(np.arange(8))
        asking = wrapped._engine.planner._policy_calls
        asking.run(lambda: wrapped(np.arange(100)), pytest.fail)  # as while another thread asks
        assert max(wrapped.last_report.sizes) <= 4
