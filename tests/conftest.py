"""Hypothesis profiles for the whole suite, and no GIL where there need be none.

HYPOTHESIS_PROFILE chooses: dev, ci, nightly; short is for a second run on the same machine; teeth is for the
mutants, where only whether a test fails matters.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile("dev", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "short", max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "teeth", max_examples=30, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
settings.register_profile("nightly", max_examples=5000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

HAS_GIL = not sysconfig.get_config_var("Py_GIL_DISABLED")
"""Whether this Python was built with a GIL that cannot be switched off."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests that are marked `counted` run without the three calls that show whether a function may be cut."""
    if item.get_closest_marker("counted") is None:
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MICROBATCH_VERIFY", "never")
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _no_gil_was_switched_on() -> Iterator[None]:
    """An extension module that is not ready for it switches the GIL on; the tests then show too little."""
    yield
    assert HAS_GIL or not sys._is_gil_enabled(), "the GIL was switched on while the tests ran"
