"""What breaks naive implementations on a CUDA device, one test each; the numbers are those of the pitfalls.

`torch.cuda._sleep` holds a stream back, so that a missing wait gives a wrong answer and not a lucky one.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import dbo

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("cuda")]

from microbatch_backends.torch_device.cuda import TorchCudaBackend

LONG = 200_000_000
"""Cycles that a stream is held back: about a tenth of a second."""
SCHEDULES = ("sequential", "pingpong", "streamed")


def many(count: int) -> int:
    """So many elements; a 64th on the simulated device, where order is drawn and no matter of time."""
    return count // 64 if torch.cuda.get_device_name().startswith("simulated") else count


def wrap(function: Any, **options: Any) -> Any:
    options = {"backend": "torch-cuda", "policy": "fixed", "num_ubatches": 4, **options}
    return microbatch.wrap(function, **options)


@pytest.mark.pitfall(9)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_pitfall_9_the_step_waits_for_the_caller_and_the_caller_for_the_step(schedule: str) -> None:
    with wrap(lambda x: x * 2, schedule=schedule) as wrapper, torch.cuda.stream(torch.cuda.Stream()):
        x = torch.zeros(1 << 20, device="cuda")
        torch.cuda._sleep(LONG)
        x.fill_(3)
        result = wrapper(x)
        assert bool((result + 1 == 7).all())


@pytest.mark.pitfall(10)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_pitfall_10_memory_of_a_dropped_input_is_not_reused_while_it_is_read(schedule: str) -> None:
    def slow(x: Any) -> Any:
        torch.cuda._sleep(LONG // 10)
        return x * 2

    with wrap(slow, schedule=schedule) as wrapper:
        x = torch.ones(many(1 << 22), device="cuda")
        result = wrapper(x)
        del x
        poison = torch.full((many(1 << 22),), float("nan"), device="cuda")
        assert bool((result == 2).all())
        del poison


@pytest.mark.pitfall(11, 12)
@pytest.mark.parametrize("pinned", [False, True])
def test_pitfalls_11_and_12_host_results_are_complete_and_staging_is_not_refilled_early(pinned: bool) -> None:
    def slow(x: Any) -> Any:
        torch.cuda._sleep(LONG // 20)
        return x + 1

    x = torch.arange(1 << 20, dtype=torch.float32).reshape(-1, 16)
    x = x.pin_memory() if pinned else x
    out = torch.full_like(x, float("nan"), pin_memory=pinned)
    with wrap(slow, schedule="streamed", num_ubatches=16) as wrapper:
        wrapper(x, out=out)
        assert torch.equal(out, x + 1)


@pytest.mark.pitfall(13)
def test_pitfall_13_staging_is_pinned() -> None:
    backend = TorchCudaBackend()
    assert backend.staging((4, 4), torch.zeros(1)).is_pinned()


def captured(backend: Any, function: Any) -> tuple[Any, Any]:
    function()
    torch.cuda.synchronize()
    graph, output = backend.capture(function)
    return graph, output


@pytest.mark.pitfall(14)
def test_pitfall_14_another_thread_does_not_kill_a_capture() -> None:
    backend, stop = TorchCudaBackend(), threading.Event()
    failed: list[BaseException] = []

    def copies() -> None:
        try:
            stream = torch.cuda.Stream()
            while not stop.is_set():
                with torch.cuda.stream(stream):
                    torch.ones(1 << 16).pin_memory().to("cuda", non_blocking=True)
        except RuntimeError as error:
            failed.append(error)

    thread = threading.Thread(target=copies)
    thread.start()
    try:
        x = torch.ones(1 << 16, device="cuda")
        for _ in range(20):
            graph, output = captured(backend, lambda: x * 2)
            graph.replay()
            torch.cuda.synchronize()
            assert bool((output == 2).all())
    finally:
        stop.set()
        thread.join()
    assert not failed


@pytest.mark.pitfall(15)
def test_pitfall_15_an_unjoined_stream_is_refused_and_streams_leave_the_capture() -> None:
    backend, side = TorchCudaBackend(), torch.cuda.Stream()
    x = torch.ones(16, device="cuda")

    def unjoined() -> Any:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            return x * 2

    with pytest.raises(RuntimeError) as caught:
        backend.capture(unjoined)
    assert backend.capture_refused(caught.value)
    assert not torch.cuda.is_current_stream_capturing()
    assert bool((x + 1 == 2).all())


@pytest.mark.pitfall(15)
def test_pitfall_15_after_a_broken_capture_random_numbers_and_memory_are_as_before() -> None:
    backend, side = TorchCudaBackend(), torch.cuda.Stream()
    pool = backend.graph_pool()
    x = torch.ones(1 << 20, device="cuda")

    def unjoined() -> Any:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            return x * 2

    for _ in range(3):
        with pytest.raises(RuntimeError):
            backend.capture(unjoined, pool=pool)
    assert torch.randn(16, device="cuda").std() > 0
    graph, output = backend.capture(lambda: x * 3, pool=pool)
    graph.replay()
    assert bool((output == 3).all())
    del graph, output
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= torch.cuda.memory_allocated() + (64 << 20)


@pytest.mark.pitfall(16)
def test_pitfall_16_a_graph_outlives_the_workspaces_of_ended_threads() -> None:
    backend = TorchCudaBackend()
    a = torch.randn(256, 256, device="cuda")
    kept: list[Any] = []

    def product() -> None:
        torch.cuda.synchronize()  # a thread without a context warns at its first product
        (a @ a).sum().item()

    threads = [threading.Thread(target=product) for _ in range(4)]
    for thread in threads:
        thread.start()
    kept.append(captured(backend, lambda: a @ a))
    for thread in threads:
        thread.join()
    torch.full((1 << 26,), float("nan"), device="cuda")
    graph, output = kept[0]
    graph.replay()
    torch.testing.assert_close(output, a @ a)


@pytest.mark.pitfall(17)
def test_pitfall_17_graphs_that_overlap_do_not_share_memory() -> None:
    backend = TorchCudaBackend()
    x = torch.randn(many(1 << 20), device="cuda")
    first, one = captured(backend, lambda: (x * 2).sin().cos())
    second, two = captured(backend, lambda: (x + 2).cos().sin())
    left, right = torch.cuda.Stream(), torch.cuda.Stream()
    for _ in range(100):
        with torch.cuda.stream(left):
            first.replay()
        with torch.cuda.stream(right):
            second.replay()
    torch.cuda.synchronize()
    assert torch.equal(one, (x * 2).sin().cos()) and torch.equal(two, (x + 2).cos().sin())


@pytest.mark.pitfall(18)
def test_pitfall_18_a_result_survives_the_next_replay() -> None:
    with wrap(lambda x: x * 2, graphs=True, schedule="sequential") as wrapper, torch.no_grad():
        inputs = [torch.full((8, 4), float(value), device="cuda") for value in range(4)]
        results = [wrapper(x) for x in inputs]
        assert wrapper.last_report.graph_hits > 0
        for value, result in enumerate(results):
            assert bool((result == 2 * value).all())


def dropping(x: Any) -> Any:
    """Arrays of each lane are dropped while the other lane, held back, still reads them."""
    h = x * 2
    dbo.dbo_yield_and_switch_from_compute_to_comm()
    torch.cuda._sleep(LONG // 20)
    h = h + 1
    dbo.dbo_yield_and_switch_from_comm_to_compute()
    h = h * 3 + h * 0
    dbo.dbo_yield_and_switch_from_compute_to_comm()
    torch.cuda._sleep(LONG // 20)
    h = h + 1
    dbo.dbo_yield_and_switch_from_comm_to_compute()
    return (h - 1) + h * 0 + h * 0


@pytest.mark.pitfall(10)
@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("driver", ["threads", "greenlets"])
def test_pitfall_10_what_one_ubatch_drops_is_not_given_to_another(driver: str, graphs: bool) -> None:
    if driver == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    with (
        torch.inference_mode(),
        wrap(dropping, schedule="pingpong", num_ubatches=3, driver=driver, graphs=graphs) as wrapper,
    ):
        for turn in range(6):
            x = torch.randn(many(3 << 18), device="cuda")
            torch.testing.assert_close(wrapper(x), (x * 2 + 1) * 3)
        assert (wrapper.last_report.graph_hits == 3) == graphs, wrapper.last_report.reason


@pytest.mark.pitfall(15, 16, 17)
@pytest.mark.parametrize("driver", ["threads", "greenlets"])
def test_pitfalls_15_to_17_a_step_on_several_streams_is_captured_and_replayed(driver: str) -> None:
    """Products on worker threads too: their BLAS handles and workspaces exist before the capture and
    outlive it."""
    if driver == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    weight = torch.randn(256, 256, device="cuda")

    def layer(x: Any) -> Any:
        h = x @ weight
        dbo.dbo_yield_and_switch_from_compute_to_comm()
        h = h.clone()
        dbo.dbo_yield_and_switch_from_comm_to_compute()
        return torch.relu(h) @ weight

    with (
        torch.inference_mode(),
        wrap(
            layer, schedule="pingpong", num_ubatches=2, driver=driver, graphs=True, graph_sizes=(32, 64)
        ) as step,
    ):
        for rows in (64, 100, 128, 33, 64, 100, 128, 33):
            x = torch.randn(rows, 256, device="cuda")
            torch.testing.assert_close(step(x), torch.relu(x @ weight) @ weight, rtol=1e-3, atol=1e-2)
        assert step.last_report.graph_hits == 2, step.last_report.reason
    assert not torch.cuda.is_current_stream_capturing()


@pytest.mark.pitfall(19)
def test_pitfall_19_padded_rows_never_reach_a_result() -> None:
    def mixing(x: Any) -> Any:
        return x - x.mean(0)

    with wrap(mixing, graphs=True, graph_sizes=(16,), num_ubatches=1, schedule="sequential") as wrapper:
        for rows in (5, 9, 5, 16, 9):
            x = torch.randn(rows, 4, device="cuda")
            torch.testing.assert_close(wrapper(x), mixing(x))


@pytest.mark.pitfall(27)
def test_pitfall_27_optional_inputs_have_no_truth_value() -> None:
    with wrap(lambda x, y=None: x if y is None else x + y, schedule="sequential") as wrapper:
        x = torch.ones(8, 2, device="cuda")
        assert bool((wrapper(x, y=x) == 2).all()) and bool((wrapper(x, y=None) == 1).all())


@pytest.mark.pitfall(29)
def test_pitfall_29_streams_of_two_devices_are_not_equal() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one CUDA device here, and two are compared")
    backend = TorchCudaBackend()
    with torch.cuda.device(0):
        first = backend.stream("compute")
    with torch.cuda.device(1):
        assert backend.stream("compute") != first


def test_memory_is_read_without_resetting_the_users_peak() -> None:
    x = torch.zeros(1 << 24, device="cuda")
    peak = torch.cuda.max_memory_allocated()
    del x
    reading = TorchCudaBackend().memory()
    assert torch.cuda.max_memory_allocated() == peak
    assert 0 <= reading.pressure <= 1 and reading.usable <= reading.capacity
    np.testing.assert_array_less(reading.in_use - 1, reading.capacity)
