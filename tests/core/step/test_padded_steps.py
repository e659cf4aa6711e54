"""Padded steps: every part runs with its padding, and the result has each real row once and nothing else."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.errors import ArgumentValueError, LayoutError, SliceError, StepOutOfMemoryError
from microbatch.metadata import slice_positions

PADDING = -7
"""What the caller's arrays hold where they are padded; no result may have it."""
LAYOUT = microbatch.Layout(
    inputs={
        "ids": microbatch.tokens(),
        "positions": microbatch.tokens(1),
        "starts": microbatch.query_start_loc(),
        "lens": microbatch.seq_lens(),
        "computed": microbatch.computed_tokens(),
        "names": microbatch.requests(),
    },
    outputs={
        "ids": microbatch.tokens(),
        "positions": microbatch.tokens(1),
        "lens": microbatch.requests(),
        "taken": microbatch.requests(),
        "names": microbatch.requests(),
        "sum": microbatch.reduce(lambda values, weights: (sum(values), tuple(weights))),
    },
)
DRIVERS = ("threads", *["greenlets"] * (find_spec("greenlet") is not None))


class Model:
    """Looks at what each part is given, and returns it."""

    def __init__(self) -> None:
        self.parts: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, ids: Any, positions: Any, starts: Any, lens: Any, computed: Any, names: Any) -> Any:
        context = microbatch.current_ubatch()
        assert context is not None and context.num_real_tokens is not None
        part = context.slice_info
        assert len(ids) == part.num_tokens and positions.shape == (2, part.num_tokens)
        assert len(starts) == part.num_reqs + 1 and len(lens) == len(computed) == len(names) == part.num_reqs
        assert starts[0] == 0 and starts[-1] <= part.num_tokens
        dbo.dbo_yield()
        with self._lock:
            assert context.ubatch_id not in self.parts, "a part ran twice"
            self.parts[context.ubatch_id] = {
                "starts": starts.tolist(), "lens": lens.tolist(), "computed": computed.tolist(),
                "real": context.num_real_tokens, "rows": len(ids),
            }  # fmt: skip
        real = slice(0, context.num_real_tokens)
        return {
            "ids": ids, "positions": positions, "lens": lens, "taken": starts[1:] - starts[:-1],
            "names": names, "sum": int(ids[real].sum()),
        }  # fmt: skip


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments of `Model`, unpadded; values tell rows apart."""
    lengths = np.array(draw(st.lists(st.integers(1, 6), min_size=1, max_size=6)))
    starts = np.concatenate(([0], np.cumsum(lengths)))
    computed = np.array(draw(st.lists(st.integers(0, 9), min_size=len(lengths), max_size=len(lengths))))
    tokens = int(starts[-1])
    return {
        "ids": np.arange(tokens) + 100, "positions": np.arange(2 * tokens).reshape(2, tokens),
        "starts": starts, "lens": computed + lengths, "computed": computed,
        "names": [f"request {index}" for index in range(len(lengths))],
    }  # fmt: skip


def padded_by_caller(batch: dict[str, Any], tokens: int, requests: int) -> dict[str, Any]:
    """The same in buffers of an engine: garbage after the real rows, offsets that stay, lengths of 0."""
    more, empty = tokens - len(batch["ids"]), requests - len(batch["names"])
    return {
        "ids": np.pad(batch["ids"], (0, more), constant_values=PADDING),
        "positions": np.pad(batch["positions"], ((0, 0), (0, more)), constant_values=PADDING),
        "starts": np.pad(batch["starts"], (0, empty), mode="edge"),
        "lens": np.pad(batch["lens"], (0, empty)),
        "computed": np.pad(batch["computed"], (0, empty)),
        "names": [*batch["names"], *["padding"] * empty],
    }


def as_steps_of_their_own(batch: dict[str, Any], slices: Any) -> list[dict[str, Any]]:
    """What attention would see if the real tokens of each part were a step of their own."""
    lengths, done = np.diff(batch["starts"]), np.zeros(len(batch["names"]), int)
    expected = []
    for part in slices:
        first, last = part.token_slice.start, part.token_slice.stop
        requests = range(part.req_slice.start, part.req_slice.stop)
        taken = [
            int(np.clip(last, batch["starts"][i], batch["starts"][i + 1])
                - np.clip(first, batch["starts"][i], batch["starts"][i + 1]))
            if i < len(lengths) else 0
            for i in requests
        ]  # fmt: skip
        real = [i for i in requests if i < len(lengths)]
        before = [int(batch["computed"][i] + done[i]) for i in real] + [0] * (len(taken) - len(real))
        for i, count in zip(real, taken, strict=False):
            done[i] += count
        expected.append({
            "starts": np.cumsum([0, *taken]).tolist(), "computed": before,
            "lens": [start + count for start, count in zip(before, taken, strict=True)],
        })  # fmt: skip
    return expected


@given(
    batch=batches(),
    more=st.tuples(st.integers(0, 20), st.integers(0, 3)),
    count=st.integers(1, 5),
    splitter=st.sampled_from(["floor", "even"]),
    schedule=st.sampled_from(["sequential", "parallel", "pingpong", "streamed"]),
    carried_by=st.sampled_from(DRIVERS),
    by_caller=st.booleans(),
)
def test_the_result_has_each_real_row_once_and_no_padding(
    batch: dict[str, Any],
    more: tuple[int, int],
    count: int,
    splitter: str,
    schedule: str,
    carried_by: str,
    by_caller: bool,
) -> None:
    """All parts run, the all-padding ones too, and each is given what vLLM's attention would be."""
    tokens, requests = len(batch["ids"]), len(batch["names"])
    shape = microbatch.BatchShape(
        num_tokens=tokens, num_requests=requests, query_start_loc=batch["starts"],
        num_tokens_padded=tokens + more[0], num_reqs_padded=requests + more[1],
    )  # fmt: skip
    step = microbatch.cut(shape, splitter=splitter, num_ubatches=min(count, tokens + more[0]))
    given_ = padded_by_caller(batch, tokens + more[0], requests + more[1]) if by_caller else batch
    model = Model()
    with microbatch.wrap(model, layout=LAYOUT, schedule=schedule, driver=carried_by) as wrapped:
        result = wrapped(**given_, ubatch_slices=step)
    for name in ("ids", "positions"):
        np.testing.assert_array_equal(result[name], batch[name])
    assert result["names"] == batch["names"]
    assert result["lens"].shape == (requests,)
    np.testing.assert_array_equal(result["lens"], batch["lens"])
    assert (result["taken"] > 0).all(), "a part that is padding alone has given a request's output"
    assert result["sum"] == (batch["ids"].sum(), tuple(real for real in step.real_tokens if real))
    parts = [model.parts[index] for index in range(len(step.slices))]
    assert tuple(part["real"] for part in parts) == step.real_tokens
    seen = [{name: part[name] for name in ("starts", "computed", "lens")} for part in parts]
    assert seen == as_steps_of_their_own(batch, step.slices)


@given(st.integers(2, 12), st.integers(0, 20), st.integers(1, 5), st.booleans())
def test_rows_that_nothing_was_declared_of(rows: int, more: int, count: int, by_caller: bool) -> None:
    """Shown on the real rows as ever; weights with as many rows as are padded go whole."""
    step = microbatch.cut(
        microbatch.BatchShape(num_tokens=rows, num_requests=rows, num_tokens_padded=rows + more),
        num_ubatches=min(count, rows + more),
    )
    x = np.arange(rows * 2.0).reshape(rows, 2) + 1
    padded = np.pad(x, ((0, more), (0, 0)), constant_values=PADDING) if by_caller else x
    with microbatch.wrap(lambda x: {"y": x * 2, "s": x.sum(1)}) as wrapped:
        result = wrapped(padded, ubatch_slices=step)
        np.testing.assert_array_equal(result["y"], x * 2)
        np.testing.assert_array_equal(result["s"], x.sum(1))
        assert wrapped.last_report is not None
        assert wrapped.last_report.sizes == tuple(part.num_tokens for part in step.slices)


@pytest.mark.counted
def test_a_rank_without_rows_runs_its_parts_and_returns_no_rows() -> None:
    calls: list[int] = []

    def model(x: Any) -> Any:
        calls.append(len(x))
        assert np.isfinite(x).all()
        return {"y": x @ np.ones((3, 2)), "mean": x.mean()}

    layout = microbatch.Layout(
        inputs={"0": microbatch.tokens()},
        outputs={"y": microbatch.tokens(), "mean": microbatch.reduce(lambda v, w: np.average(v, weights=w))},
    )
    step = microbatch.cut(
        microbatch.BatchShape(num_tokens=0, num_requests=0, num_tokens_padded=7), num_ubatches=2
    )
    with microbatch.wrap(model, layout=layout, schedule="sequential") as wrapped:
        result = wrapped(np.zeros((0, 3)), ubatch_slices=step)
    assert result["y"].shape == (0, 2)
    assert calls == [4, 3]


@pytest.mark.counted
def test_out_takes_the_real_rows() -> None:
    step = microbatch.cut(
        microbatch.BatchShape(num_tokens=5, num_requests=5, num_tokens_padded=12), num_ubatches=3
    )
    place = np.full((5, 2), -1.0)
    x = np.arange(10.0).reshape(5, 2)
    with microbatch.wrap(lambda x: x + 1) as wrapped:
        assert wrapped(x, ubatch_slices=step, out=place) is place
    np.testing.assert_array_equal(place, x + 1)


@pytest.mark.counted
def test_nothing_of_the_callers_is_written_and_parts_without_padding_are_views() -> None:
    x, shared = np.arange(10.0).reshape(5, 2), list[bool]()
    before = x.copy()

    def model(part: Any) -> Any:
        shared.append(np.shares_memory(part, x))
        part += 0
        return part + 1

    step = microbatch.cut(
        microbatch.BatchShape(num_tokens=5, num_requests=5, num_tokens_padded=12), num_ubatches=6
    )
    with microbatch.wrap(model, schedule="sequential") as wrapped:
        wrapped(x, ubatch_slices=step)
    np.testing.assert_array_equal(x, before)
    assert shared == [True, True, False, False, False, False]


@pytest.mark.counted
def test_a_cut_without_padding_is_taken_as_its_slices_are() -> None:
    step = microbatch.cut(
        microbatch.BatchShape(num_tokens=5, num_requests=5), splitter="explicit", boundaries=[1, 4]
    )
    sizes = []
    with microbatch.wrap(lambda x: sizes.append(len(x)) or x, schedule="sequential") as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(5), ubatch_slices=step), np.arange(5))
    assert sizes == [1, 3, 1]


@pytest.mark.counted
def test_a_part_that_runs_out_of_memory_runs_in_smaller_ones_where_rows_are_requests() -> None:
    def small(x: Any) -> Any:
        if len(x) > 2:
            raise MemoryError("no room")
        return x + 1

    step = microbatch.cut(
        microbatch.BatchShape(num_tokens=5, num_requests=5, num_tokens_padded=12), num_ubatches=2
    )
    with microbatch.wrap(small) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(5), ubatch_slices=step), np.arange(1, 6))


def test_a_part_with_requests_that_runs_out_of_memory_says_why_it_is_not_run_again() -> None:
    layout = microbatch.Layout(
        inputs={"x": microbatch.tokens(), "starts": microbatch.query_start_loc()},
        outputs={"output": microbatch.tokens()},
    )

    def none(x: Any, starts: Any) -> Any:
        raise MemoryError("no room")

    shape = microbatch.BatchShape(
        num_tokens=5, num_requests=2, query_start_loc=np.array([0, 3, 5]), num_tokens_padded=8
    )
    step = microbatch.cut(shape, num_ubatches=2)
    with (
        microbatch.wrap(none, layout=layout) as wrapped,
        pytest.raises(StepOutOfMemoryError, match="its step is padded"),
    ):
        wrapped(np.arange(5), np.array([0, 3, 5]), ubatch_slices=step)


@pytest.mark.parametrize("rows", [4, 7, 9])
def test_arrays_that_are_neither_real_nor_padded_are_named(rows: int) -> None:
    step = microbatch.cut(
        microbatch.BatchShape(num_tokens=5, num_requests=5, num_tokens_padded=8), num_ubatches=2
    )
    with (
        microbatch.wrap(lambda x: x) as wrapped,
        pytest.raises(LayoutError, match=rf"has {rows} tokens .* of 5, padded to 8; cut the batch"),
    ):
        wrapped(np.arange(rows), ubatch_slices=step)


def test_a_cut_of_other_requests_is_named() -> None:
    layout = microbatch.Layout(
        inputs={"x": microbatch.tokens(), "starts": microbatch.query_start_loc()},
        outputs={"output": microbatch.tokens()},
    )
    shape = microbatch.BatchShape(
        num_tokens=5, num_requests=2, query_start_loc=np.array([0, 3, 5]), num_tokens_padded=8
    )
    step = microbatch.cut(shape, splitter="explicit", boundaries=[3])
    with microbatch.wrap(lambda x, starts: x, layout=layout) as wrapped:
        with pytest.raises(SliceError, match="does not follow the requests"):
            wrapped(np.arange(5), np.array([0, 2, 5]), ubatch_slices=step)
        with pytest.raises(LayoutError, match="has 6 tokens"):
            wrapped(np.arange(6), np.array([0, 3, 6]), ubatch_slices=step)


def test_a_packed_cut_cannot_be_given() -> None:
    shape = microbatch.BatchShape(num_tokens=2, num_requests=2, lengths=np.array([1, 2]))
    with microbatch.wrap(lambda x: x) as wrapped, pytest.raises(ArgumentValueError, match="packs requests"):
        wrapped(np.arange(2), ubatch_slices=microbatch.cut(shape, splitter="packed", num_ubatches=2))


@pytest.mark.torch
def test_gradients_of_a_padded_step_are_those_of_the_plain_call() -> None:
    torch = pytest.importorskip("torch")
    step = microbatch.cut(
        microbatch.BatchShape(num_tokens=5, num_requests=5, num_tokens_padded=12), num_ubatches=4
    )
    weight = torch.ones(3, 2, requires_grad=True)
    x = torch.arange(15.0).reshape(5, 3)
    with microbatch.wrap(lambda x: torch.sin(x @ weight), schedule="sequential") as wrapped:
        y = wrapped(x, ubatch_slices=step)
    assert y.shape == (5, 2)
    (mine,) = torch.autograd.grad(y.sum(), weight)
    (plain,) = torch.autograd.grad(torch.sin(x @ weight).sum(), weight)
    torch.testing.assert_close(mine, plain)


@pytest.mark.torch
@pytest.mark.parametrize("by_caller", [False, True])
def test_tensors_of_requests_are_padded_as_arrays_are(by_caller: bool) -> None:
    torch = pytest.importorskip("torch")
    lengths = np.array([2, 3, 1])
    batch = {
        "ids": np.arange(6) + 100, "positions": np.arange(12).reshape(2, 6), "starts": np.array([0, 2, 5, 6]),
        "lens": lengths + 4, "computed": np.array([4, 4, 4]), "names": ["a", "b", "c"],
    }  # fmt: skip
    given_ = padded_by_caller(batch, 11, 5) if by_caller else batch
    tensors = {name: value if name == "names" else torch.tensor(value) for name, value in given_.items()}
    shape = microbatch.BatchShape(
        num_tokens=6, num_requests=3, query_start_loc=batch["starts"], num_tokens_padded=11, num_reqs_padded=5
    )
    step, model = microbatch.cut(shape, num_ubatches=4), Model()
    with microbatch.wrap(model, layout=LAYOUT, schedule="pingpong") as wrapped:
        result = wrapped(**tensors, ubatch_slices=step)
    for name in ("ids", "positions", "lens"):
        assert torch.equal(result[name], torch.tensor(batch[name]))
    seen = [
        {name: model.parts[index][name] for name in ("starts", "computed", "lens")}
        for index in range(len(step.slices))
    ]
    assert seen == as_steps_of_their_own(batch, step.slices)


def test_metadata_of_a_part_says_how_many_tokens_are_real() -> None:
    shape = microbatch.BatchShape(
        num_tokens=5, num_requests=2, query_start_loc=np.array([0, 3, 5]), num_tokens_padded=8
    )
    step = microbatch.cut(shape, num_ubatches=2)
    context = microbatch.UBatchContext(step.slices[1], 1, 2, None, step.real_tokens[1])
    made = microbatch.make_ubatch_metadata(
        context, input_ids=np.arange(8), query_start_loc=np.array([0, 3, 5]), seq_lens=np.array([3, 2])
    )
    assert (made.num_tokens, made.num_real_tokens) == (4, 1)
    assert made.query_start_loc.tolist() == [0, 1]
    assert slice_positions(np.arange(8), step.slices[1]).tolist() == [4, 5, 6, 7]


@pytest.mark.counted
@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 20), st.booleans())
def test_a_wrapper_makes_parts_of_a_multiple(rows: int, multiple: int, number: int, capped: bool) -> None:
    options: dict[str, Any] = {"max_tokens_per_ubatch": number} if capped else {"num_ubatches": number}
    with microbatch.wrap(lambda x: x + 1, multiple_of=multiple, schedule="sequential", **options) as wrapped:
        np.testing.assert_array_equal(wrapped(np.arange(rows)), np.arange(1, rows + 1))
        assert wrapped.last_report is not None
        sizes = wrapped.last_report.sizes
        if not capped or number >= multiple:
            assert all(size % multiple == 0 for size in sizes[:-1])
        assert not capped or max(sizes) <= number
        assert capped or len(sizes) == min(number, -(-rows // multiple))


def test_compute_slices_follows_the_requests() -> None:
    with microbatch.wrap(lambda x: x, num_ubatches=2) as wrapped:
        slices = wrapped.compute_slices(10, 3, np.array([0, 7, 8, 10]))
        assert [str(part) for part in slices] == ["tokens 0:5, requests 0:1", "tokens 5:10, requests 0:3"]
        with pytest.raises(SliceError, match=r"query_start_loc\[-1\] is 9"):
            wrapped.compute_slices(10, 2, np.array([0, 7, 9]))
    with pytest.raises(ArgumentValueError, match="multiple_of is 4, but the splitter is packed"):
        microbatch.UBatchConfig(splitter="packed", multiple_of=4)


@pytest.mark.counted
def test_progress_counts_requests_and_no_padding() -> None:
    told, before = list[tuple[int, int]](), list[int]()
    layout = microbatch.Layout(
        inputs={"x": microbatch.tokens(), "starts": microbatch.query_start_loc()},
        outputs={"output": microbatch.tokens()},
    )

    def model(x: Any, starts: Any) -> Any:
        before.append(told[-1][0] if told else 0)
        return x

    starts = np.array([0, 2, 4, 5])
    shape = microbatch.BatchShape(
        num_tokens=5, num_requests=3, query_start_loc=starts, num_tokens_padded=8, num_reqs_padded=4
    )
    step = microbatch.cut(shape, splitter="floor", num_ubatches=4)
    with microbatch.wrap(
        model, layout=layout, schedule="sequential", progress=lambda done, total: told.append((done, total))
    ) as wrapped:
        wrapped(np.arange(5), starts, ubatch_slices=step)
    assert before == [0, 1, 2, 3]
    assert told[-1] == (3, 3)
