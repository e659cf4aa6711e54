"""The pytest plugin: `--microbatch-backend NAME` and the fixture `microbatch_backend`.

Invariant: a backend named on the command line is used or the run ends with the reason; it is never skipped
and never replaced. Without the option, tests that use the fixture run on `cpu`. Loading this imports neither
hypothesis nor any framework, since pytest does it in every project that has microbatch installed.
"""

from __future__ import annotations

from typing import Any

import pytest

DEVICES = ("recording", "adversarial")
"""Test devices that may be named too."""

# A suite that fails shall say what was compared, as tests of one's own do.
for _module in ("suites", "policies", "policy_evidence", "policy_steps"):
    pytest.register_assert_rewrite(f"microbatch.testing.{_module}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("microbatch").addoption(
        "--microbatch-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="backend for tests that use the microbatch_backend fixture; may be given several times "
        "(names as in `microbatch backends`, and recording or adversarial)",
    )


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say which backends were asked for."""
    names = config.getoption("--microbatch-backend")
    return f"microbatch backends: {', '.join(names)}" if names else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One run of the test for each backend; UsageError with the reason where one cannot be had."""
    if "microbatch_backend" not in metafunc.fixturenames:
        return
    given: list[str] = metafunc.config.getoption("--microbatch-backend") or ["cpu"]
    names = list(dict.fromkeys(given))
    for name in names:
        if name not in DEVICES:
            _look_up(name)
    metafunc.parametrize("microbatch_backend", names, indirect=True)


@pytest.fixture
def microbatch_backend(request: pytest.FixtureRequest) -> Any:
    """The backend object; test devices are new for each test."""
    name = request.param
    if name not in DEVICES:
        return _look_up(name)
    from microbatch import testing

    return testing.RecordingBackend() if name == "recording" else testing.AdversarialBackend()


def _look_up(name: str) -> Any:
    from microbatch.errors import MicrobatchError
    from microbatch.loading.plugins import default_plugins

    try:
        return default_plugins().backend(name)
    except MicrobatchError as error:
        raise pytest.UsageError(f"--microbatch-backend: {error}") from error
