"""Bad inputs at the front door: refused before any thread, by name and value, and the next valid call
works."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import Layout, Proposal, UBatchSlice
from microbatch.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    LayoutError,
    MicrobatchError,
    OutputMismatchError,
    PolicyError,
    SliceError,
    UncoveredArrayError,
    UnknownNameError,
)
from microbatch.loading.plugins import Plugins
from tests.refusing import refused

X = np.arange(8.0)
FIXED: dict[str, Any] = {"num_ubatches": 4, "policy": "fixed", "schedule": "parallel"}


def double(ids: Any, mask: Any = None) -> Any:
    return ids * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """One bad call of a wrapped function, and what it says."""

    args: tuple[Any, ...] = (X,)
    """Arguments."""
    kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments by name."""
    layout: Layout | None = None
    """Layout of the wrapper."""
    good: tuple[Any, ...] = (X,)
    """Arguments of the next call, which works."""
    kind: type[MicrobatchError] = LayoutError
    """The error."""
    told: tuple[str, ...]
    """What its text has."""


def starts(*offsets: int) -> Bad:
    """A layout with offsets, and these."""
    layout = Layout(inputs={"ids": microbatch.tokens(), "mask": microbatch.query_start_loc()})
    return Bad(args=(X, np.array(offsets)), good=(X, np.array([0, 3, 8])), layout=layout, told=())


def cut_at(*ranges: tuple[int, int]) -> dict[str, Any]:
    return {"ubatch_slices": [UBatchSlice.from_range(a, b, a, b) for a, b in ranges]}


def declared(rule: microbatch.Rule, **fields: Any) -> dict[str, Any]:
    inputs = {"ids": microbatch.tokens(), "mask": rule}
    return {"layout": Layout(inputs=inputs, outputs={"output": microbatch.tokens()}), **fields}


def nested(depth: int) -> list[Any]:
    tree: list[Any] = [X]
    for _ in range(depth):
        tree = [tree]
    return tree


def cycle() -> list[Any]:
    tree: list[Any] = [X]
    tree.append(tree)
    return tree


def check(bad: Bad, *told: str) -> None:
    calls: list[int] = []

    def step(ids: Any, mask: Any = None) -> Any:
        calls.append(1)
        return double(ids, mask)

    with microbatch.wrap(step, layout=bad.layout, **FIXED) as wrapped:

        def good() -> None:
            assert calls == [], "the function was called"
            np.testing.assert_array_equal(wrapped(*bad.good), 2 * bad.good[0])

        refused(lambda: wrapped(*bad.args, **bad.kwargs), bad.kind, (*bad.told, *told), good)


@pytest.mark.parametrize(
    ("offsets", "told"),
    [
        pytest.param((0, 0, 0), ("mask says 2 requests but 0 tokens",), marks=pytest.mark.bad_input(4)),
        pytest.param((3, 8), ("mask[0] is 3",), marks=pytest.mark.bad_input(6)),
        pytest.param((0, 5, 2, 8), ("mask decreases at index 2 (5 to 2)",), marks=pytest.mark.bad_input(7)),
        pytest.param((0, 3, 6), ("ids has 8 tokens", "mask says 6"), marks=pytest.mark.bad_input(8)),
    ],
)
def test_offsets(offsets: tuple[int, ...], told: tuple[str, ...]) -> None:
    check(starts(*offsets), *told)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(
            Bad(
                args=(X, X[:7]),
                kind=UncoveredArrayError,
                told=("mask has 7 rows but ids has 8", "replicate()"),
            ),
            marks=(pytest.mark.bad_input(1), pytest.mark.counted),  # otherwise tried, as shared by all rows
        ),
        pytest.param(Bad(args=("text", 3), told=("nothing to split",)), marks=pytest.mark.bad_input(2, 36)),
        pytest.param(
            Bad(
                **declared(microbatch.requests()),
                args=(X, np.ones(9)),
                good=(X, X),
                told=("8 tokens", "9 requests"),
            ),
            marks=pytest.mark.bad_input(5),
        ),
        pytest.param(
            Bad(args=(X, (n for n in range(8))), told=("mask is a generator", "pass a list or an array")),
            marks=pytest.mark.bad_input(35),
        ),
        pytest.param(
            Bad(**declared(microbatch.tokens()), args=(X, "eight ch"), good=(X, X), told=("mask is a str",)),
            marks=pytest.mark.bad_input(36),
        ),
        pytest.param(
            Bad(**declared(microbatch.tokens()), args=(X, np.array(1)), good=(X, X), told=("mask is 0-dim",)),
            marks=pytest.mark.bad_input(37),
        ),
        pytest.param(
            Bad(
                **declared(microbatch.tokens()),
                args=(X, [1, 2, 3]),
                good=(X, [0] * 8),
                told=("mask has 3", "8"),
            ),
            marks=pytest.mark.bad_input(38),
        ),
        pytest.param(Bad(args=(cycle(),), told=("contain themselves",)), marks=pytest.mark.bad_input(39)),
        pytest.param(Bad(args=(nested(5000),), told=("nested too deep",)), marks=pytest.mark.bad_input(39)),
        pytest.param(
            Bad(
                args=(np.ones((8, 2)), np.ones((1, 2))),
                kind=UncoveredArrayError,
                told=("mask has 1 row but ids has 8", "{'mask': replicate()}"),
            ),
            marks=(pytest.mark.bad_input(43), pytest.mark.counted),
        ),
        pytest.param(
            Bad(
                **declared(microbatch.tokens(2)),
                args=(X, np.ones((8, 2))),
                good=(X, np.ones((1, 1, 8))),
                told=("mask has 2 dimensions, so axis=2 does not exist",),
            ),
            marks=pytest.mark.bad_input(48),
        ),
        pytest.param(
            Bad(
                **declared(microbatch.tokens(-3)),
                args=(X, np.ones((8, 2))),
                good=(X, np.ones((8, 1, 1))),
                told=("mask has 2 dimensions, so axis=-3 does not exist",),
            ),
            marks=pytest.mark.bad_input(48),
        ),
    ],
)
def test_leaves(bad: Bad) -> None:
    check(bad)


@pytest.mark.parametrize(
    ("slices", "told"),
    [
        pytest.param(
            cut_at((0, 4), (3, 8)), "slices 0 and 1 overlap on tokens 3:4", marks=pytest.mark.bad_input(9)
        ),
        pytest.param(
            cut_at((0, 3), (4, 8)), "tokens 3:4 belong to no slice", marks=pytest.mark.bad_input(10)
        ),
        pytest.param(cut_at((4, 8), (0, 4)), "slice 1 (0:4) comes after", marks=pytest.mark.bad_input(11)),
        pytest.param(cut_at((0, 4), (4, 9)), "ends at 9 but there are 8", marks=pytest.mark.bad_input(12)),
        pytest.param(cut_at((0, 4), (4, 4), (4, 8)), "ubatch 1 is empty", marks=pytest.mark.bad_input(16)),
    ],
)
def test_slices(slices: dict[str, Any], told: str) -> None:
    check(Bad(kwargs=slices, kind=SliceError, told=(told,)))


@pytest.mark.bad_input(9, 12)
@pytest.mark.parametrize(
    ("slices", "told"),
    [(3, "ubatch_slices is 3 (int)"), ([slice(0, 8)], "ubatch_slices[0] is of type slice")],
)
def test_slices_of_another_kind(slices: Any, told: str) -> None:
    check(Bad(kwargs={"ubatch_slices": slices}, kind=ArgumentTypeError, told=(told,)))


@pytest.mark.parametrize(
    ("token_slice", "told"),
    [
        pytest.param(slice(-2, 4), "the start of token_slice is -2", marks=pytest.mark.bad_input(13)),
        pytest.param(slice(4, 2), "token_slice is 4:2", marks=pytest.mark.bad_input(14)),
        pytest.param(slice(0, 4, 2), "token_slice has step 2", marks=pytest.mark.bad_input(15)),
    ],
)
def test_a_slice_that_is_none(token_slice: slice, told: str) -> None:
    refused(
        lambda: UBatchSlice(token_slice=token_slice, req_slice=slice(0, 4)),
        SliceError,
        (told,),
        lambda: UBatchSlice.from_range(0, 4, 0, 4),
    )


@pytest.mark.bad_input(12)
def test_a_part_beyond_the_end_is_not_cut_short() -> None:
    with microbatch.wrap(double) as wrapped:

        def good() -> None:
            assert len(wrapped.slice_inputs(X, UBatchSlice.from_range(6, 8, 6, 8))) == 2

        beyond = UBatchSlice.from_range(6, 9, 6, 8)
        refused(
            lambda: wrapped.slice_inputs(X, beyond), SliceError, ("slice_info ends at 9", "8 tokens"), good
        )
        wrong: Any = slice(0, 2)
        refused(
            lambda: wrapped.slice_inputs(X, wrong), ArgumentTypeError, ("slice_info is of type slice",), good
        )


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        pytest.param((0, 3), "3 requests but 0 tokens", marks=pytest.mark.bad_input(4)),
        pytest.param((5, 8), "5 tokens cannot cover 8 requests", marks=pytest.mark.bad_input(5)),
    ],
)
def test_counts_alone(counts: tuple[int, int], told: str) -> None:
    wrapped = microbatch.wrap(double)
    refused(
        lambda: wrapped.compute_slices(*counts), SliceError, (told,), lambda: wrapped.compute_slices(8, 8)
    )


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        pytest.param(
            {"num_ubatches": 0}, ArgumentValueError, "num_ubatches is 0", marks=pytest.mark.bad_input(17)
        ),
        pytest.param(
            {"num_ubatches": -3}, ArgumentValueError, "num_ubatches is -3", marks=pytest.mark.bad_input(17)
        ),
        pytest.param(
            {"num_ubatches": True},
            ArgumentTypeError,
            "num_ubatches is True (bool)",
            marks=pytest.mark.bad_input(18),
        ),
        pytest.param(
            {"num_ubatches": 2.0},
            ArgumentTypeError,
            "num_ubatches is 2.0 (float)",
            marks=pytest.mark.bad_input(18),
        ),
        pytest.param(
            {"num_ubatches": "2"},
            ArgumentTypeError,
            "num_ubatches is '2' (str)",
            marks=pytest.mark.bad_input(18),
        ),
        pytest.param(
            {"barrier_timeout": -1},
            ArgumentValueError,
            "barrier_timeout is -1.0",
            marks=pytest.mark.bad_input(22),
        ),
        pytest.param(
            {"barrier_timeout": float("nan")},
            ArgumentValueError,
            "barrier_timeout is nan",
            marks=pytest.mark.bad_input(22),
        ),
        pytest.param(
            {"barrier_timeout": True},
            ArgumentTypeError,
            "barrier_timeout is True (bool)",
            marks=pytest.mark.bad_input(22),
        ),
        pytest.param(
            {"backend": "cpuu"},
            UnknownNameError,
            "'cpuu'; did you mean 'cpu'?",
            marks=pytest.mark.bad_input(23),
        ),
        pytest.param(
            {"backend": "zzz"}, UnknownNameError, "'zzz'; known: cpu", marks=pytest.mark.bad_input(23)
        ),
        pytest.param(
            {"policy": "fixd"},
            UnknownNameError,
            "'fixd'; did you mean 'fixed'?",
            marks=pytest.mark.bad_input(25),
        ),
        pytest.param(
            {"num_ubatch": 2},
            UnknownNameError,
            "'num_ubatch'; did you mean 'num_ubatches'?",
            marks=pytest.mark.bad_input(28),
        ),
        ({"layout": {"ids": 0}}, ArgumentTypeError, "layout is dict; pass microbatch.Layout("),
        ({"progress": 3}, ArgumentTypeError, "progress is int; pass a function"),
        ({"plugins": ["mine"]}, ArgumentTypeError, "plugins is list; pass"),
        (
            {"policy": "latency", "policy_options": {"latency": {"name": 1}}},
            UnknownNameError,
            "has no option 'name'",
        ),
    ],
)
def test_options(options: dict[str, Any], kind: type[MicrobatchError], told: str) -> None:
    refused(lambda: microbatch.wrap(double, **options), kind, (told,), lambda: microbatch.wrap(double)(X))


@pytest.mark.bad_input(19)
def test_more_ubatches_than_the_cap() -> None:
    told = ("num_ubatches is 1000000000, above the cap of 65536", "max_ubatches")
    with pytest.raises(microbatch.errors.ConfigError) as caught:
        microbatch.wrap(double, num_ubatches=10**9)
    assert all(words in str(caught.value) for words in told)
    refused(
        lambda: microbatch.UBatchConfig(num_ubatches=10**9), ArgumentValueError, told, microbatch.UBatchConfig
    )


@pytest.mark.bad_input(18)
def test_an_integer_of_any_make_is_a_count() -> None:
    counts: list[Any] = [np.int64(3), np.uint8(3)]
    assert [microbatch.wrap(double, num_ubatches=count).config.num_ubatches for count in counts] == [3, 3]


@pytest.mark.parametrize(
    ("threshold", "told"),
    [
        pytest.param(float("nan"), "memory_threshold is nan", marks=pytest.mark.bad_input(20)),
        pytest.param(float("inf"), "memory_threshold is inf", marks=pytest.mark.bad_input(21)),
        pytest.param(0, "memory_threshold is 0", marks=pytest.mark.bad_input(21)),
        pytest.param(90, "memory_threshold is 90; expected a finite number in (0, 1]. did you mean 0.9?",
                     marks=pytest.mark.bad_input(21)),
    ],
)  # fmt: skip
def test_thresholds(threshold: float, told: str) -> None:
    def wrapped(share: float) -> Any:
        return microbatch.DynamicUBatchWrapper(double, memory_threshold=share)

    refused(lambda: wrapped(threshold), ArgumentValueError, (told,), lambda: wrapped(0.9)(X))


@pytest.mark.bad_input(22)
@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_limits_of_a_barrier(timeout: float) -> None:
    wrapped = microbatch.wrap(double, num_ubatches=1)
    refused(
        lambda: wrapped.barrier_sync(timeout),
        ArgumentValueError,
        (f"timeout is {timeout}",),
        lambda: wrapped.barrier_sync(1.0),
    )


async def _coroutine(x: Any) -> Any:
    return x


def _generator(x: Any) -> Any:
    yield x


@pytest.mark.parametrize(
    ("thing", "told"),
    [
        pytest.param(
            [1], "an object of type list cannot be called; pass a function", marks=pytest.mark.bad_input(31)
        ),
        pytest.param(dict, "the class dict was given; pass an instance", marks=pytest.mark.bad_input(32)),
        pytest.param(_coroutine, "the function is async", marks=pytest.mark.bad_input(33)),
        pytest.param(_generator, "the function is a generator", marks=pytest.mark.bad_input(33)),
        pytest.param(functools.partial(_coroutine), "the function is async", marks=pytest.mark.bad_input(33)),
        pytest.param(
            functools.partial(_generator), "the function is a generator", marks=pytest.mark.bad_input(33)
        ),
        pytest.param(
            microbatch.wrap(double),
            "already wrapped; to change its options, wrap its unwrap()",
            marks=pytest.mark.bad_input(34),
        ),
    ],
)
def test_functions(thing: Any, told: str) -> None:
    refused(lambda: microbatch.wrap(thing), ArgumentTypeError, (told,), lambda: microbatch.wrap(double)(X))


class Answers(Plugins):
    """Plugins with one policy of that answer; an error is raised, None is answered as it is."""

    __slots__ = ("answer",)

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def policy(self, name: str, **options: Any) -> Any:
        plugins = self

        class Policy:
            def propose(self, request: Any) -> Any:
                if isinstance(plugins.answer, Exception):
                    raise plugins.answer
                return plugins.answer

            def observe(self, report: Any) -> None:
                pass

        return Policy()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(None, "'fixed' answered None", marks=pytest.mark.bad_input(50)),
        pytest.param("three", "'fixed' answered 'three'", marks=pytest.mark.bad_input(50)),
        pytest.param(Proposal(limit=True), "limit=True", marks=pytest.mark.bad_input(50)),
        pytest.param(Proposal(limit=0), "limit=0", marks=pytest.mark.bad_input(51)),
        pytest.param(Proposal(limit=-1), "limit=-1", marks=pytest.mark.bad_input(51)),
        pytest.param(
            Proposal(limit=float("nan")),  # type: ignore[arg-type]
            "limit=nan",
            marks=pytest.mark.bad_input(51),
        ),
        pytest.param(Proposal(count=0), "count=0", marks=pytest.mark.bad_input(51)),
        pytest.param(Proposal(count=2.0), "count=2.0", marks=pytest.mark.bad_input(51)),  # type: ignore[arg-type]
        pytest.param(
            KeyError("x"), "'fixed' raised KeyError: 'x' in propose", marks=pytest.mark.bad_input(52)
        ),
    ],
)
def test_policies(answer: Any, told: str) -> None:
    plugins = Answers(answer)
    with microbatch.wrap(double, plugins=plugins, **FIXED) as wrapped:

        def good() -> None:
            plugins.answer = Proposal(limit=3)
            np.testing.assert_array_equal(wrapped(X), 2 * X)

        refused(lambda: wrapped(X), PolicyError, (told,), good)


@pytest.mark.counted
@pytest.mark.bad_input(53)
def test_a_policy_that_never_shrinks_costs_a_step_no_row() -> None:
    tried: list[int] = []

    def narrow(x: Any) -> Any:
        tried.append(len(x))
        if len(x) > 2:
            raise MemoryError("no room")
        return x * 2

    with microbatch.wrap(narrow, plugins=Answers(Proposal(limit=8, split=False)), **FIXED) as wrapped:
        np.testing.assert_array_equal(wrapped(X), 2 * X)
    assert tried == [8, 4, 2, 2, 2, 2]


@pytest.mark.counted
@pytest.mark.parametrize(
    ("broken", "told"),
    [
        pytest.param(
            lambda x: {"b": x}, ("(keys: b)", "(keys: a)", "ubatch 1"), marks=pytest.mark.bad_input(56)
        ),
        pytest.param(
            lambda x: {"a": x[:1]},
            ("output['a'] does not have one row for each row", "had 2", "returned 1 rows"),
            marks=pytest.mark.bad_input(57),
        ),
        pytest.param(
            lambda x: {"a": x.astype("f4")},
            ("output['a']", "float32", "float64"),
            marks=pytest.mark.bad_input(58),
        ),
        pytest.param(
            lambda x: {"a": None}, ("output['a'] is None in ubatch 1",), marks=pytest.mark.bad_input(59)
        ),
        pytest.param(lambda x: None, ("output", "None", "ubatch 1"), marks=pytest.mark.bad_input(59)),
    ],
)
def test_outputs(broken: Callable[[Any], Any], told: tuple[str, ...]) -> None:
    after: list[Callable[[Any], Any]] = [lambda x: {"a": x}, broken]

    def step(x: Any) -> Any:
        return (after.pop(0) if after else (lambda x: {"a": x}))(x)

    with microbatch.wrap(step, **{**FIXED, "schedule": "sequential"}) as wrapped:

        def good() -> None:
            after.clear()
            np.testing.assert_array_equal(wrapped(X)["a"], X)

        refused(lambda: wrapped(X), OutputMismatchError, told, good)


@pytest.mark.counted
@pytest.mark.bad_input(60)
def test_a_constant_that_counts() -> None:
    calls: list[int] = []

    def step(x: Any) -> Any:
        calls.append(1)
        return {"a": x, "step": len(calls) if len(x) < 8 else 0}

    with microbatch.wrap(step, **{**FIXED, "schedule": "sequential"}) as wrapped:
        told = ("constant output['step'] differs: 1 in ubatch 0, 2 in ubatch 1",)
        one = cut_at((0, 8))
        refused(lambda: wrapped(X), OutputMismatchError, told, lambda: wrapped(X, **one))
