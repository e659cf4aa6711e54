"""Ranges name each phase of each ubatch, and only when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.testing import RecordingBackend
from microbatch.testing.given_plugins import GivenBackends

pytestmark = pytest.mark.counted


class Ranged(RecordingBackend):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.depth = 0

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        self.names.append(name)
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1


def names(function: Any) -> list[str]:
    device = Ranged()
    options: dict[str, Any] = {"policy": "fixed", "num_ubatches": 2, "schedule": "sequential"}
    with microbatch.wrap(function, backend=device.name, plugins=GivenBackends(device), **options) as wrapper:
        try:
            wrapper(device.array(np.zeros((4, 2))))
        except KeyError:
            pass
    assert device.depth == 0
    return device.names


def test_each_phase_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBATCH_TRACE", "1")
    phases = [f"ubatch {index}/2 {phase}" for index in (0, 1) for phase in ("load", "compute", "store")]
    assert names(lambda x: x + 1) == phases


def test_a_range_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBATCH_TRACE", "1")

    def fail(x: Any) -> Any:
        raise KeyError("row")

    assert names(fail) == ["ubatch 0/2 load", "ubatch 0/2 compute"]


@pytest.mark.parametrize("value", ["", "0"])
def test_nothing_is_named_unasked(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROBATCH_TRACE", value)
    assert names(lambda x: x + 1) == []
