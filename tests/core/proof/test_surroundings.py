"""What calls overwrite is seen; what they only add, and what lies in modules, is not taken for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest

import microbatch
from microbatch.proof.surroundings import Surroundings

COUNT = [0]


def closure() -> Callable[[Any], Any]:
    buffer = np.zeros(100_000)

    def function(x: Any) -> Any:
        buffer[: len(x)] = x
        return buffer[: len(x)] + 1

    return function


def entry() -> Callable[[Any], Any]:
    state: dict[str, Any] = {"x": None}

    def function(x: Any) -> Any:
        state["x"] = x.sum()
        return x + 0 * state["x"]

    return function


class Model:
    def __init__(self) -> None:
        self.scratch = SimpleNamespace(values=np.zeros(3))

    def __call__(self, x: Any) -> Any:
        self.scratch.values[:] = x[:3]
        return x

    def method(self, x: Any) -> Any:
        return self(x)


def counter(x: Any) -> Any:
    COUNT[0] += 1
    return x


def default(x: Any, kept: list[float] = [0.0]) -> Any:  # noqa: B006 - what is tested
    kept[0] = float(x[0])
    return x


def inner(x: Any) -> Any:
    return counter(x)


OVERWRITES = {
    "a buffer in a closure": closure(),
    "an entry": entry(),
    "a field of a callable object": Model(),
    "a field of a method's object": Model().method,
    "an entry of a global": counter,
    "a default": default,
    "what a function that it calls overwrites": inner,
    "a partial's function": functools.partial(counter),
}


def after_a_call(function: Callable[[Any], Any]) -> str | None:
    before = Surroundings.of(function)
    function(np.arange(5.0) + 1)
    return before.overwritten(Surroundings.of(function))


@pytest.mark.parametrize("name", OVERWRITES)
def test_what_calls_overwrite(name: str) -> None:
    assert after_a_call(OVERWRITES[name]) is not None


def results() -> Callable[[Any], Any]:
    kept: list[Any] = []
    cache: dict[int, Any] = {}

    def function(x: Any) -> Any:
        kept.append(len(x))
        cache[len(cache)] = x
        return np.tanh(x)

    return function


@pytest.mark.parametrize(
    "function",
    [results(), np.tanh, lambda x: np.linalg.norm(x), microbatch.wrap(np.tanh), len, float],
    ids=["added", "ufunc", "global module", "wrapper", "builtin", "class"],
)
def test_what_is_only_added_or_in_modules_is_no_obstacle(function: Any) -> None:
    before = Surroundings.of(function)
    if function not in (len, float):
        function(np.arange(5.0))
    assert before.overwritten(Surroundings.of(function)) is None


class EveryName:
    """An object that has every attribute, as a stand-in in somebody's tests has."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: name


def test_objects_that_answer_to_every_name_are_let_be() -> None:
    stub, mock = EveryName(), MagicMock(side_effect=lambda x: x * 2)
    x = np.random.default_rng(0).normal(size=(64, 3))
    with microbatch.wrap(lambda a: mock(a) + len(stub.name()), policy="fixed", num_ubatches=4) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x * 2 + 4)
