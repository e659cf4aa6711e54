"""Results of rows that arrive one after the other: in order, bounded, and closed whatever happens."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import microbatch
from microbatch.errors import ArgumentTypeError, ArgumentValueError, OutputMismatchError

SOME = settings(deadline=None, max_examples=25)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Each stream ends its thread."""
    yield
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name == "microbatch-stream"]


class Watched:
    """An iterator that knows how far it is and whether it was closed."""

    def __init__(self, rows: int, fail: int = -1) -> None:
        self.at = 0
        self.closed = 0
        self._rows = rows
        self._fail = fail

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> Any:
        if self.at == self._fail:
            raise LookupError("the source is gone")
        if self.at == self._rows:
            raise StopIteration
        self.at += 1
        return np.array([self.at - 1.0, 1.0])

    def close(self) -> None:
        self.closed += 1


@SOME
@given(rows=st.integers(0, 300), most=st.none() | st.integers(1, 40))
def test_a_result_for_each_row_in_order(rows: int, most: int | None) -> None:
    """However many run in one step."""
    found = list(microbatch.stream(lambda x: x * 2, Watched(rows), rows=most))
    assert [each.tolist() for each in found] == [[2.0 * row, 2.0] for row in range(rows)]


@SOME
@given(sizes=st.lists(st.integers(1, 9), max_size=40))
def test_a_result_for_each_batch(sizes: list[int]) -> None:
    """Of as many rows as the batch."""
    rows = iter(range(sum(sizes)))
    batches = [np.array([next(rows) for _ in range(size)]) for size in sizes]
    found = list(microbatch.stream(lambda x: x + 1, iter(batches), batched=True))
    assert [each.tolist() for each in found] == [(batch + 1).tolist() for batch in batches]


@dataclass
class Answer:
    label: list[str]
    score: Any


ITEMS: dict[str, tuple[Any, Any, Any]] = {
    "texts": (["a", "bb", ""], lambda texts: [text * 2 for text in texts], ["aa", "bbbb", ""]),
    "numbers": ([1, 2, 3], lambda x: x + 0.5, [1.5, 2.5, 3.5]),
    "tuples": (
        [(1, "a"), (2, "b")],
        lambda n, t: [f"{a}{b}" for a, b in zip(n, t, strict=True)],
        ["1a", "2b"],
    ),
    "dictionaries": ([{"x": 1.0, "t": "a"}, {"x": 2.0, "t": "b"}], lambda x, t: x * 2, [2.0, 4.0]),
    "rows of several lengths": (
        [np.ones(2), np.ones(3)],
        lambda rows: [row.sum() for row in rows],
        [2.0, 3.0],
    ),
    "dictionary back": (
        [1, 2],
        lambda x: {"y": x, "z": [str(each) for each in x]},
        [{"y": 1, "z": "1"}, {"y": 2, "z": "2"}],
    ),
    "tuple back": ([1, 2], lambda x: (x, x + 1), [(1, 2), (2, 3)]),
    "dataclass back": (["a"], lambda t: Answer(list(t), np.ones(len(t))), [Answer("a", 1.0)]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", ITEMS)
def test_kinds_of_items(name: str) -> None:
    """What goes in and what comes out."""
    items, function, expected = ITEMS[name]
    assert list(microbatch.stream(function, items)) == expected


@pytest.mark.torch
def test_a_data_loader_gives_batches() -> None:
    """Its tensors stay tensors, several are several arguments."""
    torch = pytest.importorskip("torch")
    data = torch.utils.data
    x = torch.arange(40.0).reshape(20, 2)
    loader = data.DataLoader(data.TensorDataset(x, x[:, 0]), batch_size=3)
    found = list(microbatch.stream(lambda x, y: x.sum(1) + y, loader))
    assert [len(each) for each in found] == [3] * 6 + [2]
    assert torch.equal(torch.cat(found), x.sum(1) + x[:, 0])
    rows = list(microbatch.stream(lambda x: x * 2, iter(x)))
    assert torch.equal(torch.stack(rows), x * 2)


def test_at_most_one_block_is_gathered_ahead() -> None:
    """However slowly results are taken."""
    source = Watched(10_000)
    results = microbatch.stream(lambda x: x, source, rows=8, verify="never")
    for taken in range(1, 41):
        next(results)
        assert source.at <= ((taken - 1) // 8 + 2) * 8
    results.close()


def test_the_next_block_is_gathered_while_one_runs() -> None:
    """The source has given it before the function returns."""
    gathered = threading.Event()

    def items() -> Iterator[float]:
        for row in range(16):
            if row == 15:
                gathered.set()
            yield float(row)

    def waiting(x: Any) -> Any:
        assert gathered.wait(30)
        return x

    assert list(microbatch.stream(waiting, items(), rows=8, verify="never")) == [float(r) for r in range(16)]


def test_closed_early() -> None:
    """The source is closed, and asked no more."""
    source = Watched(10_000)
    results = microbatch.stream(lambda x: x, source, rows=4)
    next(results)
    results.close()
    at = source.at
    assert source.closed == 1
    gc.collect()
    assert source.at == at


def test_dropped() -> None:
    """As closed."""
    source = Watched(10_000)
    results = microbatch.stream(lambda x: x, source, rows=4)
    next(results)
    del results
    gc.collect()
    assert source.closed == 1


def test_never_begun() -> None:
    """Nothing was asked of the source."""
    source = Watched(10_000)
    microbatch.stream(lambda x: x, source).close()
    assert source.at == 0


@pytest.mark.parametrize("fail", [0, 1, 7, 8, 9, 30])
def test_an_error_of_the_source(fail: int) -> None:
    """Rows before it come out first."""
    source = Watched(100, fail)
    found = []
    with pytest.raises(LookupError, match="the source is gone"):
        for each in microbatch.stream(lambda x: x, source, rows=8, verify="never"):
            found.append(each[0])
    assert found == list(range(fail))
    assert source.closed == 1


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_an_error_of_the_function(error: BaseException) -> None:
    """Reaches the caller, and the source is closed; so with an interrupt."""
    source = Watched(100)

    def fail(x: Any) -> Any:
        if x[0, 0] >= 16:
            raise error
        return x

    found = []
    with pytest.raises(type(error)):
        for each in microbatch.stream(fail, source, rows=8, verify="never"):
            found.append(each[0])
    assert found == list(range(16))
    assert source.closed == 1


def test_an_error_of_the_taker() -> None:
    """The generator is closed by Python when the loop is left."""
    source = Watched(100)
    with pytest.raises(ZeroDivisionError):
        for _ in microbatch.stream(lambda x: x, source, rows=8):
            raise ZeroDivisionError
    gc.collect()
    assert source.closed == 1


@pytest.mark.parametrize(
    ("items", "function", "options", "kind", "text"),
    [
        ([1, 2], lambda x: 3.0, {}, OutputMismatchError, "returned float, which has no entry for each of 2"),
        ([1, 2], lambda x: x[:1], {}, OutputMismatchError, "no entry for each of 2 rows"),
        ([1, 2], lambda x: "ab", {}, OutputMismatchError, "returned str, which has no entry"),
        ([1], lambda x: x, {"rows": 0}, ArgumentValueError, "rows is 0"),
        ([1], lambda x: x, {"rows": True}, ArgumentTypeError, "rows"),
        (
            [1],
            lambda x: x,
            {"batched": True},
            ArgumentTypeError,
            "batch of type int has no rows|cannot be put",
        ),
        ([(1, 2), (1,)], lambda x, y: x, {}, ArgumentTypeError, "different numbers of values"),
        ([{"a": 1}, {"b": 1}], lambda a: a, {}, ArgumentTypeError, "different names"),
        ([1], microbatch.wrap(lambda x: x), {"num_ubatches": 2}, ArgumentTypeError, "already wrapped"),
        ([1], 3, {}, ArgumentTypeError, "cannot be called"),
    ],
)
def test_mistakes(items: Any, function: Any, options: Any, kind: type[Exception], text: str) -> None:
    """Each has its sentence."""
    with pytest.raises(kind, match=text):
        list(microbatch.stream(function, items, **options))


def test_what_is_no_iterable() -> None:
    """Python's own words, at once."""
    with pytest.raises(TypeError, match="not iterable"):
        microbatch.stream(lambda x: x, 3)  # type: ignore[arg-type]
