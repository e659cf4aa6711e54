"""Steps of a real LLM, captured: requests of one length with offsets and sequence lengths, padded or not."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import dbo
from microbatch.testing import AdversarialBackend, RecordingBackend
from microbatch.testing.given_plugins import GivenBackends
from microbatch.testing.strategies import work_orders

DRIVERS = ("threads", *["greenlets"] * (find_spec("greenlet") is not None))
LAYOUT = microbatch.Layout(
    inputs={
        "x": microbatch.tokens(),
        "starts": microbatch.query_start_loc(),
        "lens": microbatch.seq_lens(),
        "computed": microbatch.computed_tokens(),
    },
    outputs={
        "hidden": microbatch.tokens(),
        "left": microbatch.requests(),
        "taken": microbatch.requests(),
    },
)


def decode(x: Any, starts: Any, lens: Any, computed: Any) -> Any:
    """Looks at everything that a part is given; compute and communication in turns."""
    h = x * 2
    dbo.dbo_yield_and_switch_from_compute_to_comm("dispatch")
    h = h + 1
    dbo.dbo_yield_and_switch_from_comm_to_compute("combine")
    taken = starts[1:] - starts[:-1]
    return {"hidden": h * 3, "left": lens - computed, "taken": taken * 1}


def wrapped(device: Any, function: Any = decode, **options: Any) -> Any:
    options = {"num_ubatches": 2, "schedule": "pingpong", "graphs": True, "layout": LAYOUT, **options}
    return microbatch.wrap(function, backend=device.name, plugins=GivenBackends(device), **options)


def arrays(requests: int, length: int, seed: int, padded: int) -> dict[str, np.ndarray]:
    """One step of `requests` requests of `length` tokens, in arrays for `padded` requests."""
    generator = np.random.default_rng(seed)
    computed = generator.integers(1, 99, padded)
    computed[requests:] = 0
    lens = computed + length
    lens[requests:] = 0
    starts = np.minimum(np.arange(padded + 1), requests) * length
    return {
        "x": generator.normal(size=(padded * length, 2)), "starts": starts, "lens": lens,
        "computed": computed,
    }  # fmt: skip


def step_of(requests: int, length: int, padded: int, count: int) -> microbatch.Cut:
    shape = microbatch.BatchShape(
        num_tokens=requests * length,
        num_requests=requests,
        query_start_loc=np.arange(requests + 1) * length,
        num_tokens_padded=padded * length,
        num_reqs_padded=padded,
    )
    return microbatch.cut(shape, splitter="floor", num_ubatches=count, multiple_of=length)


def expected(given_: dict[str, np.ndarray], step: Any, rows: tuple[int, int]) -> dict[str, np.ndarray]:
    """What the step gives without graphs, on the host; the first `rows` of it where it is padded."""
    host = {name: array[: _rows(name, array, rows)] for name, array in given_.items()}
    with microbatch.wrap(
        decode, num_ubatches=2, policy="fixed", layout=LAYOUT, schedule="sequential"
    ) as plain:
        result: dict[str, np.ndarray] = plain(**host, ubatch_slices=step)
        return result


def _rows(name: str, array: np.ndarray, rows: tuple[int, int]) -> int:
    tokens, requests = rows
    return {"x": tokens, "starts": requests + 1}.get(name, requests)


def on_device(device: Any, given_: dict[str, np.ndarray], *, host_starts: bool = False) -> dict[str, Any]:
    """The arrays, made on the caller's stream just before."""
    return {
        name: array if host_starts and name == "starts" else device.array(array) + 0
        for name, array in given_.items()
    }


def check(result: dict[str, Any], wanted: dict[str, np.ndarray]) -> None:
    for name, array in wanted.items():
        np.testing.assert_array_equal(np.asarray(result[name]), array)


@pytest.mark.parametrize("driver", DRIVERS)
@given(
    requests=st.lists(st.integers(2, 7), min_size=1, max_size=3),
    length=st.integers(1, 3),
    count=st.integers(2, 3),
    host_starts=st.booleans(),
    order=work_orders(),
)
def test_any_sequence_of_decode_steps_is_right_in_any_order_of_the_device(
    driver: str, requests: list[int], length: int, count: int, host_starts: bool, order: Any
) -> None:
    """Cut evenly, inside requests too; each size comes a second time, when it is replayed."""
    device = AdversarialBackend(order)
    with wrapped(device, driver=driver, num_ubatches=count) as wrapper:
        for seed, number in enumerate([*requests, *requests]):
            given_ = arrays(number, length, seed, number)
            result = wrapper(**on_device(device, given_, host_starts=host_starts))
            report = wrapper.last_report
            bounds = np.cumsum(report.sizes)[:-1].tolist()
            shape = microbatch.BatchShape(
                num_tokens=number * length, num_requests=number, query_start_loc=given_["starts"]
            )
            cut = microbatch.cut(shape, splitter="explicit", boundaries=bounds)
            check(result, expected(given_, cut, (number * length, number)))
            if seed >= len(requests):
                assert report.graph_hits == len(report.sizes)


@pytest.mark.parametrize("driver", DRIVERS)
@given(
    real=st.lists(st.integers(5, 8), min_size=1, max_size=5),
    length=st.integers(1, 2),
    order=work_orders(),
)
def test_one_graph_serves_all_numbers_of_real_requests(
    driver: str, real: list[int], length: int, order: Any
) -> None:
    """Padded to what was captured, where real requests reach each ubatch; padding is in no result."""
    device = AdversarialBackend(order)
    captures = 0
    with wrapped(device, driver=driver) as wrapper:
        for seed, number in enumerate([*real, *real]):
            given_, step = arrays(number, length, seed, 8), step_of(number, length, 8, 2)
            result = wrapper(**on_device(device, given_), ubatch_slices=step)
            assert result["hidden"].shape == (number * length, 2)
            assert result["left"].shape == (number,)
            check(result, expected(given_, step, (number * length, number)))
            captures += wrapper.last_report.graph_captures
            if seed >= len(real):
                assert wrapper.last_report.graph_hits == 2
    assert captures == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_is_unordered(driver: str) -> None:
    device = RecordingBackend()
    with wrapped(device, driver=driver) as wrapper:
        for seed, number in enumerate((8, 6, 6, 7, 7)):
            step = step_of(number, 1, 8, 2)
            result = wrapper(**on_device(device, arrays(number, 1, seed, 8)), ubatch_slices=step)
            np.asarray(result["hidden"])
        assert wrapper.last_report.graph_hits == 2
    device.assert_ordered()
    assert not device.findings().waits_for_nothing


@pytest.mark.counted
def test_each_ubatch_keeps_its_buffers_and_each_replay_fills_them() -> None:
    """What a kernel was given in the capture is where the numbers of every later step are."""
    device, given_to = RecordingBackend(), list[tuple[Any, Any, Any]]()

    def keeping(x: Any, starts: Any, lens: Any, computed: Any) -> Any:
        given_to.append((starts, lens, computed))
        return decode(x, starts, lens, computed)

    with wrapped(device, keeping, driver="threads") as wrapper:
        for seed, number in enumerate((8, 8, 6, 6, 5, 5)):
            step, values = step_of(number, 1, 8, 2), arrays(number, 1, seed, 8)
            wrapper(**on_device(device, values), ubatch_slices=step)
            if seed == 0:
                captured = given_to[-2:]
            if not wrapper.last_report.graph_hits:
                continue
            for part, (starts, lens, computed) in zip(step.slices, captured, strict=True):
                here = slice(part.req_slice.start, part.req_slice.stop)
                offsets = np.clip(values["starts"], part.token_slice.start, part.token_slice.stop)
                offsets = offsets[here.start : here.stop + 1] - part.token_slice.start
                np.testing.assert_array_equal(np.asarray(starts), offsets)
                np.testing.assert_array_equal(np.asarray(lens), values["lens"][here])
                np.testing.assert_array_equal(np.asarray(computed), values["computed"][here])
    assert len(given_to) == 2 * (1 + 2 + 2), "the first step, its capture, and once for each new number"


REASONS = [
    ({"requests": 5, "length": 1, "count": 4}, "ubatch 3 is padding alone"),
    ({"requests": 5, "length": 2, "count": 2, "inside": True}, "cut it with multiple_of=2"),
]


@pytest.mark.parametrize(("how", "told"), REASONS, ids=[told for _, told in REASONS])
def test_what_one_graph_cannot_serve_runs_as_it_is_and_says_why(how: dict[str, Any], told: str) -> None:
    device = RecordingBackend()
    requests, length = how["requests"], how["length"]
    step = step_of(requests, length, 8, how["count"])
    if "inside" in how:
        shape = microbatch.BatchShape(
            num_tokens=requests * length, num_requests=requests, num_tokens_padded=16, num_reqs_padded=8,
            query_start_loc=np.arange(requests + 1) * length,
        )  # fmt: skip
        step = microbatch.cut(shape, splitter="explicit", boundaries=[7])
    with wrapped(device) as wrapper:
        for seed in range(2):
            given_ = arrays(requests, length, seed, 8)
            result = wrapper(**on_device(device, given_), ubatch_slices=step)
            check(result, expected(given_, step, (requests * length, requests)))
        assert wrapper.last_report.graph_captures == 0
        assert told in wrapper.last_report.reason


def test_requests_of_several_lengths_are_not_captured() -> None:
    device = RecordingBackend()
    given_ = {
        "x": np.ones((5, 2)), "starts": np.array([0, 2, 5]), "lens": np.array([4, 9]),
        "computed": np.array([2, 6]),
    }  # fmt: skip
    with wrapped(device, policy="fixed") as wrapper:
        for _ in range(2):
            wrapper(**on_device(device, given_))
        assert wrapper.last_report.graph_captures == 0
        assert "depends on values" in wrapper.last_report.reason


@pytest.mark.counted
@given(real=st.lists(st.integers(1, 8), min_size=1, max_size=4), order=work_orders())
def test_padded_rows_are_captured_too_where_a_ubatch_is_padding_alone(real: list[int], order: Any) -> None:
    device = AdversarialBackend(order)
    with microbatch.wrap(
        lambda x: {"y": x * 2, "s": x.sum(axis=1)}, backend=device.name, plugins=GivenBackends(device),
        layout=microbatch.Layout(
            inputs={"0": microbatch.tokens()}, outputs={"y": microbatch.tokens(), "s": microbatch.tokens()}
        ),
        schedule="pingpong", graphs=True,
    ) as wrapper:  # fmt: skip
        for seed, rows in enumerate([*real, *real]):
            values = np.random.default_rng(seed).normal(size=(8, 2))
            shape = microbatch.BatchShape(num_tokens=rows, num_requests=rows, num_tokens_padded=8)
            result = wrapper(device.array(values) + 0, ubatch_slices=microbatch.cut(shape, num_ubatches=3))
            np.testing.assert_array_equal(np.asarray(result["y"]), values[:rows] * 2)
            np.testing.assert_array_equal(np.asarray(result["s"]), values[:rows].sum(axis=1))
            if seed >= len(real):
                assert wrapper.last_report.graph_hits == 3


def test_steps_of_other_lengths_in_the_same_padded_arrays_are_other_graphs() -> None:
    """The same tokens are cut at the same places, but they are those of other requests."""
    device = RecordingBackend()
    with wrapped(device) as wrapper:
        for seed, (requests, length) in enumerate([(8, 1), (4, 2)] * 2):
            given_ = arrays(8, 1, seed, 8) | {"starts": np.minimum(np.arange(9) * length, 8)}
            shape = microbatch.BatchShape(
                num_tokens=8, num_requests=requests, query_start_loc=given_["starts"],
                num_tokens_padded=8, num_reqs_padded=8,
            )  # fmt: skip
            step = microbatch.cut(shape, num_ubatches=2)
            result = wrapper(**on_device(device, given_), ubatch_slices=step)
            check(result, expected(given_, step, (8, requests)))
        assert wrapper.last_report.graph_hits == 2
