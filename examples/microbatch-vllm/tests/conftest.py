"""A module of vLLM's shape in `sys.modules`, with our hand-off in it, and short limits."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from microbatch_vllm import register, unregister
from microbatch_vllm.replacing import MODULE

import microbatch

SHORT = 0.2
"""Seconds that a wait may take where a test is about the limit."""
LONG = 60.0
"""Where it is not: a wait that takes so long is a hang."""


def stand_in() -> ModuleType:
    """A fresh one; `register` finds it while it is in `sys.modules`."""
    spec = importlib.util.spec_from_file_location(MODULE, Path(__file__).with_name("stand_in.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def plain() -> Iterator[Any]:
    """The stand-in as it is."""
    module = stand_in()
    parents = ("vllm", "vllm.v1", "vllm.v1.worker")
    with mock.patch.dict(sys.modules, {**{name: ModuleType(name) for name in parents}, MODULE: module}):
        yield module


@pytest.fixture
def ours(plain: Any) -> Iterator[Callable[[float], Any]]:
    """The stand-in on our hand-off, as a function of the limit of its waits."""

    def registered(limit: float = LONG) -> Any:
        with microbatch.config(barrier_timeout=limit):
            register()
        return plain

    yield registered
    unregister()
