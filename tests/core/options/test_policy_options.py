"""What a policy is given: by argument, environment and file, to one policy or to those of a chain."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch.errors import ArgumentTypeError, ArgumentValueError, UnknownNameError
from microbatch.options.fields import UBatchConfig
from microbatch.options.policy_options import options_of

plain = st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=5) | st.none()
names = st.text("abc_", min_size=1, max_size=4)


@given(options=st.dictionaries(names, plain | st.dictionaries(names, plain, max_size=3), max_size=4))
def test_a_record_with_them_is_hashed_pickled_and_compared(options: dict[str, Any]) -> None:
    config = UBatchConfig(policy_options=options)  # type: ignore[arg-type]
    assert config == UBatchConfig(policy_options=config.policy_options)
    assert hash(config) == hash(pickle.loads(pickle.dumps(config)))
    own = {name: value for name, value in options.items() if not isinstance(value, dict)}
    config = UBatchConfig(policy_options=own)  # type: ignore[arg-type]
    assert options_of(config.policy_options, "latency", ["latency"]) == own


def deadline(wrapped: microbatch.UBatchWrapper) -> float:
    policy = wrapped._engine.planner.policy
    found: Any = getattr(policy, "policy", None) or getattr(policy, "_policy", policy)
    return found._deadline  # type: ignore[no-any-return]


@pytest.mark.parametrize("where", ["argument", "environment", "json", "file"])
def test_they_reach_the_policy(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"policy": "latency"}
    if where == "argument":
        options["policy_options"] = {"deadline": 0.25}
    elif where == "file":
        (tmp_path / "microbatch.toml").write_text("[policy_options]\ndeadline = 0.25\n")
    else:
        text = "deadline=0.25" if where == "environment" else '{"deadline": 0.25}'
        monkeypatch.setenv("MICROBATCH_POLICY_OPTIONS", text)
    with microbatch.wrap(np.copy, **options) as wrapped:
        assert dict(wrapped.microbatch.options.policy_options) == {"deadline": 0.25}
        wrapped(np.arange(64.0))
        assert "at most 0.25 s" in wrapped.last_report.reason or "measuring" in wrapped.last_report.reason
        assert deadline(wrapped) == 0.25


def test_those_of_a_chain_say_whose_they_are() -> None:
    options = {"latency": {"deadline": 0.25}}
    microbatch.wrap(np.copy, policy="latency,pressure", policy_options=options).shutdown()
    with pytest.raises(ArgumentValueError, match=r"policy_options=\{'latency': \{'deadline': 0.25\}\}"):
        microbatch.wrap(np.copy, policy="latency,pressure", policy_options={"deadline": 0.25})
    with pytest.raises(UnknownNameError, match=r"options for 'latensy'.*did you mean 'latency'"):
        microbatch.wrap(np.copy, policy="latency,pressure", policy_options={"latensy": {"deadline": 0.25}})


def test_what_the_policy_does_not_take() -> None:
    with pytest.raises(
        UnknownNameError, match="policy 'latency'.*no option 'dedline'; did you mean 'deadline'"
    ):
        microbatch.wrap(np.copy, policy="latency", policy_options={"dedline": 0.25})
    with pytest.raises(ArgumentValueError, match="deadline"):
        microbatch.wrap(np.copy, policy="latency", policy_options={"deadline": -1})


@pytest.mark.parametrize("wrong", [3, [1, 2], {"deadline": object()}, {1: 2}, {"": 2}])
def test_what_are_no_options(wrong: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="policy_options"):
        UBatchConfig(policy_options=wrong)


@pytest.mark.parametrize("wrong", ["deadline", "{deadline", "deadline=0.1,x"])
def test_what_is_no_text_of_options(wrong: str) -> None:
    with pytest.raises(ArgumentValueError, match="policy_options"):
        UBatchConfig(policy_options=wrong)  # type: ignore[arg-type]
