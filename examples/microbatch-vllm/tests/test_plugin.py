"""The plugin registers once, refuses what it does not know, can be undone, and loads nothing by itself."""

from __future__ import annotations

import logging
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from microbatch_vllm import register, unregister
from microbatch_vllm.replacing import MODULE, OF_CLASS, OF_INIT, OF_MODULE

import microbatch
from microbatch.errors import ConfigError

REPLACED = ("__init__", "__enter__", "__exit__", "_cpu_yield")


def test_it_replaces_once_and_puts_the_same_objects_back(
    plain: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """vLLM calls it in each process, some more than once."""
    before = dict(vars(plain.UBatchContext))
    with caplog.at_level(logging.INFO, "vllm.microbatch"):
        register()
        first = dict(vars(plain.UBatchContext))
        register()
    (line,) = caplog.messages
    assert "replaced the hand-off" in line
    assert dict(vars(plain.UBatchContext)) == first
    assert all(first[name] is not before[name] for name in REPLACED)
    unregister()
    unregister()
    assert dict(vars(plain.UBatchContext)) == before


def without(module: Any, name: str) -> str:
    """Take `name` out of the module, its class, or the parameters of that; how the log calls it."""
    kind = module.UBatchContext
    if name in OF_MODULE:
        delattr(module, name)
    elif name in OF_CLASS:
        delattr(kind, name)
        return f"UBatchContext.{name}"
    else:
        original = kind.__init__
        kind.__init__ = lambda self, renamed: original(self, renamed)
        return f"parameter {name} of UBatchContext"
    return name


@pytest.mark.parametrize("name", [*OF_MODULE, *OF_CLASS, OF_INIT[0], OF_INIT[-1]])
def test_another_shape_is_left_alone_with_one_line_of_the_log(
    plain: Any, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """The line names what is not there."""
    called = without(plain, name)
    before = dict(vars(getattr(plain, "UBatchContext", object)))
    with caplog.at_level(logging.INFO, "vllm.microbatch"):
        register()
    (line,) = caplog.messages
    assert "does nothing" in line and called in line
    assert dict(vars(getattr(plain, "UBatchContext", object))) == before
    unregister()


def test_without_vllm_it_says_so_and_does_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An engine must start without us."""
    monkeypatch.setitem(sys.modules, MODULE, None)
    register()
    (line,) = caplog.messages
    assert "does nothing" in line and MODULE in line


def test_a_limit_that_is_none_is_refused_at_once(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the middle of a step."""
    monkeypatch.setenv("MICROBATCH_BARRIER_TIMEOUT", "soon")
    before = dict(vars(plain.UBatchContext))
    with pytest.raises(ConfigError, match="MICROBATCH_BARRIER_TIMEOUT"):
        register()
    assert dict(vars(plain.UBatchContext)) == before
    monkeypatch.setenv("MICROBATCH_BARRIER_TIMEOUT", "none")
    register()
    unregister()


def test_importing_it_loads_no_framework() -> None:
    """vLLM looks at each plugin in each of its processes."""
    code = "import sys, microbatch_vllm; print([m for m in ('torch', 'vllm', 'numpy') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_entry_point_is_the_one_that_vllm_looks_for() -> None:
    """As declared, and as installed where it is installed."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"vllm.general_plugins": {"microbatch": "microbatch_vllm:register"}}
    for found in entry_points(group="vllm.general_plugins", name="microbatch"):
        assert found.load() is register
    assert microbatch.UBatchConfig().barrier_timeout == 30
