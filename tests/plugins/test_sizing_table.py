"""The promises of the sizing table on fewer draws, so that a change that loses one is seen before the
benchmark."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from benchmarks import curves
from benchmarks.limited_memory import LimitedMemory, capacities, changing
from benchmarks.searches import SEARCHES, SIZERS
from benchmarks.sizing_runs import follow, run_search, run_sizer, search
from microbatch_policies.memory.memory_model import MemoryModel


# With noise on every call the aim is the benchmark's 0.93, which `memory-model` does not reach: it has 0.90.
@pytest.mark.parametrize(("noise", "least"), [(0.0, 0.95), (0.02, 0.88)])
def test_finding_a_size_costs_half_a_failure_and_uses_the_memory(noise: float, least: float) -> None:
    outcomes = [
        search(MemoryModel(), LimitedMemory(np.random.default_rng(seed), capacity, noise))
        for seed, capacity in enumerate(capacities(np.random.default_rng(1), 60))
    ]
    assert statistics.fmean(outcome.failures for outcome in outcomes) <= 0.5
    assert statistics.fmean(outcome.utilisation for outcome in outcomes) >= least


def test_a_changing_limit_is_followed() -> None:
    outcomes = []
    for seed in range(8):
        trace = changing(np.random.default_rng(seed))
        memory = LimitedMemory(np.random.default_rng(seed), trace[0])
        outcomes.append(follow(MemoryModel(), memory, trace))
    assert statistics.fmean(outcome.failures for outcome in outcomes) <= 2
    assert statistics.fmean(outcome.utilisation for outcome in outcomes) >= 0.92


@pytest.mark.parametrize("name", curves.CURVES)
def test_the_fastest_size_is_found_in_eight(name: str) -> None:
    found = curves.settle(curves.CURVES[name])
    assert found.share >= 0.95 and found.measured <= 8


@pytest.mark.parametrize("name", curves.CURVES)
@pytest.mark.parametrize(("noise", "first", "later"), [(0.0, 1.28, 1.08), (0.3, 1.5, 1.15)])
def test_sizes_that_follow_the_times_are_near_the_best_from_the_first_step_on(
    name: str, noise: float, first: float, later: float
) -> None:
    """The later steps look at the sizes beside the one that was found, and end at the best."""
    for seed in range(3 if noise else 1):
        found = curves.follow_the_pace(curves.CURVES[name], noise=noise, seed=seed)
        assert found.first <= first and found.later <= later
        assert noise or found.settled <= 1.05


@pytest.mark.parametrize("name", SEARCHES)
def test_the_searches_of_others_end_with_a_size_that_fits(name: str) -> None:
    for seed, capacity in enumerate(capacities(np.random.default_rng(2), 60)):
        outcome = run_search(SEARCHES[name](), LimitedMemory(np.random.default_rng(seed), capacity))
        assert 0 < outcome.utilisation <= 1
        assert outcome.failures < outcome.trials or capacity < 2  # Lightning then answers 1, untried


def test_halving_needs_the_trials_that_the_study_counted() -> None:
    outcomes = [
        run_search(SEARCHES["halving (toma, Composer)"](), LimitedMemory(np.random.default_rng(0), capacity))
        for capacity in capacities(np.random.default_rng(3), 400)
    ]
    assert statistics.fmean(outcome.trials for outcome in outcomes) == pytest.approx(6.4, abs=0.5)
    assert statistics.fmean(outcome.utilisation for outcome in outcomes) == pytest.approx(0.77, abs=0.03)


def test_what_never_grows_stays_small() -> None:
    trace = changing(np.random.default_rng(0))
    assert run_sizer(SIZERS["halve, never grow (toma, Composer)"](), trace).utilisation < 0.8
