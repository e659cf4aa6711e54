"""Modules in training mode are not run side by side, and not cut where their buffers change."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from microbatch.proof.module_modes import StateWatch, modules_of


class Buffer:
    def __init__(self) -> None:
        self._version = 0


class Module:
    """Looks like a torch module: training, buffers, callable."""

    def __init__(self, training: bool = False) -> None:
        self.training = training
        self.buffer = Buffer()

    def buffers(self) -> list[Buffer]:
        return [self.buffer]

    def __call__(self, x: Any) -> Any:
        return x

    def forward(self, x: Any) -> Any:
        return x


GLOBAL = Module()


def names_a_global(x: Any) -> Any:
    return GLOBAL(x)


def in_a_nested_function(x: Any) -> Any:
    return list(map(lambda part: GLOBAL(part), [x]))  # noqa: C417 - the name is in the inner code only


def _closure(module: Module) -> Any:
    return lambda x: module(x)


MODULE = Module()


@pytest.mark.parametrize(
    ("function", "module"),
    [
        (MODULE, MODULE),
        (MODULE.forward, MODULE),
        (functools.partial(MODULE, 1), MODULE),
        (functools.partial(print, MODULE), MODULE),
        (_closure(MODULE), MODULE),
        (names_a_global, GLOBAL),
        (in_a_nested_function, GLOBAL),
    ],
    ids=["itself", "method", "partial", "argument of partial", "closure", "global", "nested"],
)
def test_a_module_is_found_wherever_the_function_refers_to_it(function: Any, module: Module) -> None:
    assert modules_of(function) == (module,)


def test_a_plain_function_refers_to_none() -> None:
    assert modules_of(len) == ()
    assert modules_of(_closure) == ()


def test_training_runs_whole_once_then_one_after_another() -> None:
    module = Module(training=True)
    watch = StateWatch(module)
    assert "its first step is not cut" in watch.why_whole()
    watch.after(watch.before())
    assert watch.why_whole() == ""
    assert "a module is in training mode" in watch.why_sequential()


@pytest.mark.pitfall(19)
def test_training_that_changes_buffers_is_never_cut() -> None:
    module = Module(training=True)
    watch = StateWatch(module)
    snapshot = watch.before()
    module.buffer._version += 1
    watch.after(snapshot)
    assert "rows depend on each other" in watch.why_whole()
    module.training = False
    assert watch.why_whole() == ""


@pytest.mark.pitfall(23)
def test_buffers_that_change_in_evaluation_forbid_overlap() -> None:
    module = Module()
    watch = StateWatch(module)
    assert "the first step of a module with buffers" in watch.why_sequential()
    watch.after(watch.before())
    assert watch.why_sequential() == ""
    snapshot = watch.before()
    module.buffer._version += 1
    watch.after(snapshot)
    assert "changes its buffers from step to step" in watch.why_sequential()


def test_a_module_without_buffers_may_overlap_from_the_first_step() -> None:
    class Bare(Module):
        def buffers(self) -> list[Buffer]:
            return []

    assert StateWatch(Bare()).why_sequential() == ""


def test_watching_ends_after_a_few_calls() -> None:
    watch = StateWatch(Module(), calls=2)
    for _ in range(2):
        watch.after(watch.before())
    assert watch.before() is None
