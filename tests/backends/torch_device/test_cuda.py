"""The device backend on a fake device module: streams, events, thread state, copies and graphs."""

from __future__ import annotations

import contextvars
import itertools
import threading
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the torch backends need PyTorch")

from microbatch.errors import ArgumentTypeError
from microbatch.extend.abilities import (
    Graph,
    SupportsDeviceName,
    SupportsGraphs,
    SupportsProbe,
    SupportsRanks,
    SupportsThreadedCapture,
    SupportsTransfer,
    SupportsYieldCheck,
)
from microbatch.extend.protocols import Backend, Event, Stream
from microbatch_backends.host.events import HostEvent
from microbatch_backends.torch_device.cuda import TorchCudaBackend
from microbatch_backends.torch_device.device_module import DeviceModule

PLACES = [(0, False), (0, True), (1, False), (1, True)]
"""Device, and whether a stream other than the default one is current there."""


@pytest.fixture
def backend(cuda: Any) -> TorchCudaBackend:
    return TorchCudaBackend(DeviceModule("cuda", cuda))


def test_protocols(backend: TorchCudaBackend) -> None:
    claimed = (
        Backend,
        SupportsGraphs,
        SupportsRanks,
        SupportsThreadedCapture,
        SupportsTransfer,
        SupportsYieldCheck,
    )
    assert all(isinstance(backend, protocol) for protocol in claimed)
    assert isinstance(backend.stream("compute"), Stream) and isinstance(backend.event(), Event)
    assert backend.name == "torch-cuda" and backend.asynchronous and not backend.parallel


@pytest.mark.pitfall(29)
def test_a_purpose_has_one_stream_a_device(backend: TorchCudaBackend, cuda: Any) -> None:
    first = backend.stream("compute")
    assert backend.stream("compute") is first
    with cuda.device(1):
        assert backend.stream("compute") is not first and backend.stream("compute").raw.device == 1
    assert cuda.current_device() == 0


def test_all_but_compute_is_urgent(backend: TorchCudaBackend) -> None:
    assert backend.stream("compute").raw.priority == 0
    for purpose in ("communication", "copy_in", "copy_out"):
        assert backend.stream(purpose).raw.priority < 0  # type: ignore[arg-type]


def test_what_is_launched_inside_is_on_the_stream(backend: TorchCudaBackend, cuda: Any) -> None:
    stream, caller = backend.stream("communication"), backend.current_stream()
    with stream.activate():
        cuda.launch("active")
        assert backend.current_stream() == stream
    stream.submit(lambda: cuda.launch("submitted"))
    cuda.launch("caller's")
    assert stream.raw.launched == ["active", "submitted"] and caller.raw.launched == ["caller's"]
    assert backend.current_stream() == caller and hash(caller) == hash(backend.current_stream())


@pytest.mark.pitfall(29)
def test_the_former_stream_and_device_come_back_when_the_work_raises(
    backend: TorchCudaBackend, cuda: Any
) -> None:
    with cuda.device(1):
        stream = backend.stream("compute")
    caller = backend.current_stream()
    with pytest.raises(ZeroDivisionError):
        stream.submit(lambda: 1 / 0)
    assert backend.current_stream() == caller and cuda.current_device() == 0


def test_events_order_streams_without_making_the_host_wait(backend: TorchCudaBackend, cuda: Any) -> None:
    first, second, event = backend.stream("compute"), backend.stream("copy_out"), backend.event()
    second.wait(event)
    assert event.done() and event.synchronize() and second.raw.launched == [] and cuda.calls == []
    first.submit(lambda: cuda.launch("one"))
    event.record(first)
    second.wait(event)
    assert second.raw.launched == ["wait 1"] and cuda.calls == []
    assert not event.done()


def test_a_limited_wait_polls_and_gives_up(backend: TorchCudaBackend, cuda: Any) -> None:
    stream, event = backend.stream("compute"), backend.event()
    stream.submit(lambda: cuda.launch("one"))
    event.record(stream)
    assert not event.synchronize(0) and not stream.synchronize(0.002)
    assert "event.synchronize" not in cuda.calls and "stream.synchronize" not in cuda.calls
    stream.raw.finished = 1
    assert event.synchronize(0) and stream.synchronize(0)
    assert event.synchronize() and stream.synchronize()
    assert cuda.calls[-2:] == ["event.synchronize", "stream.synchronize"]


def test_events_and_streams_of_another_backend_are_refused(backend: TorchCudaBackend) -> None:
    with pytest.raises(ArgumentTypeError, match="HostEvent"):
        backend.stream("compute").wait(HostEvent())
    with pytest.raises(ArgumentTypeError, match="one backend"):
        backend.event().record(object())  # type: ignore[arg-type]


@pytest.mark.parametrize("caller", PLACES)
@pytest.mark.parametrize("worker", PLACES)
def test_device_and_stream_go_with_the_thread_state(
    cuda: Any, caller: tuple[int, bool], worker: tuple[int, bool]
) -> None:
    backend = TorchCudaBackend(DeviceModule("cuda", cuda))

    def place(where: tuple[int, bool]) -> tuple[int, list[Any]]:
        cuda.set_device(where[0])
        if where[1]:
            cuda.set_stream(cuda.Stream())
        return here()

    def here() -> tuple[int, list[Any]]:
        return cuda.current_device(), [cuda.current_stream(0), cuda.current_stream(1)]

    index, streams = place(caller)
    state, failures = backend.thread_state(), list[BaseException]()

    def work() -> None:
        try:
            before = place(worker)
            with state.apply():
                assert here()[0] == index and here()[1][index] is streams[index]
                cuda.set_stream(cuda.Stream())
                cuda.set_device(1 - index)
            assert here() == before
        except BaseException as error:  # noqa: BLE001 - raised in the test
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []


def test_reclaim_waits_for_streams_and_not_for_the_device(backend: TorchCudaBackend, cuda: Any) -> None:
    backend.stream("compute")
    backend.reclaim()
    assert cuda.calls == ["stream.synchronize", "stream.synchronize", "empty_cache"]


def test_host_threads_are_left_alone(backend: TorchCudaBackend) -> None:
    before = torch.get_num_threads()
    with backend.parallel_limits(4), backend.worker_limits(4):
        assert torch.get_num_threads() == before


def test_ownership_is_by_device_type(cuda: Any) -> None:
    meta = TorchCudaBackend(DeviceModule("meta", cuda))
    assert meta.name == "torch-meta" and meta.owns(torch.ones(1, device="meta"))
    assert not meta.owns(torch.ones(1)) and not meta.owns(3)
    assert meta.empty_device((2, 3), torch.ones(1, dtype=torch.int8)).shape == (2, 3)


class Pinned(torch.Tensor):
    """Says of itself that it is pinned, and notes how it is copied."""

    non_blocking: bool | None = None

    def is_pinned(self, device: Any = None) -> bool:
        return True


@pytest.mark.pitfall(13)
@pytest.mark.parametrize("pinned", [True, False])
def test_a_copy_is_asynchronous_only_where_the_host_side_is_pinned(
    backend: TorchCudaBackend, monkeypatch: pytest.MonkeyPatch, pinned: bool
) -> None:
    host, device, seen = torch.ones(3), torch.zeros(3), list[bool]()
    host = host.as_subclass(Pinned) if pinned else host
    original = torch.Tensor.copy_

    def copy_(self: Any, source: Any, non_blocking: bool = False) -> Any:
        seen.append(non_blocking)
        with torch._C.DisableTorchFunctionSubclass():
            return original(self, source)

    monkeypatch.setattr(torch.Tensor, "copy_", copy_)
    backend.to_device(device, host)
    backend.to_host(host, device * 2)
    assert seen[:2] == [pinned, pinned] and host.tolist() == [2, 2, 2]


@pytest.mark.pitfall(14, 16)
def test_capture_is_thread_local_and_on_a_stream_of_its_own(backend: TorchCudaBackend, cuda: Any) -> None:
    cuda.stats = {"reserved_bytes.all.current": 100}
    used: list[Any] = []

    def work() -> str:
        used.append(cuda.current_stream())
        cuda.calls.append("work")
        if len(used) > 1:
            cuda.stats = {"reserved_bytes.all.current": 140}
        return f"output {len(used)}"

    caller = cuda.current_stream()
    graph, output = backend.capture(work)
    assert isinstance(graph, Graph) and output == "output 2" and graph.bytes_held() == 40
    begin = "begin {'pool': (0, 1), 'capture_error_mode': 'thread_local'}"
    assert cuda.calls == ["blas", "work", begin, "work", "end"]
    assert used[0] is used[1] is not caller and used[0].launched == ["wait stream 0"]
    assert cuda.current_stream() is caller and caller.launched == ["wait stream 1"]
    backend.capture(work)
    assert used[2] is not used[0]
    graph.replay()
    assert cuda.calls[-1] == "replay"


def test_streams_inside_a_capture_are_its_own_in_every_thread_of_it(
    backend: TorchCudaBackend, cuda: Any
) -> None:
    eager, seen = backend.stream("compute"), list[Any]()

    def work() -> None:
        inside = contextvars.copy_context()
        threads = [
            threading.Thread(target=lambda: seen.append(inside.run(backend.stream, "compute"))),
            threading.Thread(target=lambda: seen.append(backend.stream("compute"))),
        ]
        for thread in threads:
            thread.start()
            thread.join()
        seen.append(backend.stream("compute"))

    backend.capture(work)
    carried, foreign, own = seen[:3]
    assert carried is own is seen[3] and foreign is eager and own != eager
    assert own.raw is not cuda.current_stream() and backend.stream("compute") is eager


def test_a_stream_that_is_in_use_is_drawn_past(backend: TorchCudaBackend, cuda: Any) -> None:
    ring = [cuda.Stream() for _ in range(8)]
    drawn = itertools.count()
    cuda.Stream = lambda priority=0: ring[next(drawn) % len(ring)]
    seen: list[Any] = []
    for _ in range(5):
        backend.capture(lambda: seen.append((cuda.current_stream(), backend.stream("compute").raw)))
    eager = {id(stream.raw) for stream in backend._streams.values()}
    for first, lane in seen:
        assert first is not lane and not {id(first), id(lane)} & eager


def test_where_all_streams_are_in_use_nothing_is_captured(backend: TorchCudaBackend, cuda: Any) -> None:
    only = cuda.Stream()
    cuda.Stream = lambda priority=0: only
    with pytest.raises(RuntimeError, match="all are in use") as caught:
        backend.capture(lambda: None)
    assert backend.capture_refused(caught.value)


def test_a_shared_pool_is_used_and_not_counted(backend: TorchCudaBackend, cuda: Any) -> None:
    graph, _ = backend.capture(lambda: None, pool=backend.graph_pool())
    assert graph.bytes_held() == 0 and "'pool': (0, 1)" in cuda.calls[1]


def failing_in_the_capture() -> Any:
    """Work whose second run fails."""
    runs = itertools.count()
    return lambda: 1 / 0 if next(runs) else None


def test_an_error_of_the_first_run_begins_no_capture(backend: TorchCudaBackend, cuda: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        backend.capture(lambda: 1 / 0)
    assert cuda.calls == ["blas"] and backend.stream("compute") is backend.stream("compute")


@pytest.mark.pitfall(15)
@pytest.mark.parametrize("broken_end", [True, False])
def test_the_error_of_the_work_survives_the_end_of_the_capture(
    backend: TorchCudaBackend, cuda: Any, broken_end: bool
) -> None:
    cuda.broken_end = broken_end
    with pytest.raises(ZeroDivisionError):
        backend.capture(failing_in_the_capture())
    assert cuda.calls[-1] == "end"
    assert backend.capture(lambda: 7)[1] == 7


@pytest.mark.pitfall(15)
def test_a_capture_that_cannot_be_ended_says_so(backend: TorchCudaBackend, cuda: Any) -> None:
    cuda.broken_end = True
    with pytest.raises(RuntimeError, match="previous error") as caught:
        backend.capture(lambda: None)
    assert backend.capture_refused(caught.value)


@pytest.mark.pitfall(15)
def test_after_a_broken_capture_memory_and_random_numbers_are_as_before(
    backend: TorchCudaBackend, cuda: Any
) -> None:
    pool = backend.graph_pool()
    cuda.broken_end = True
    with pytest.raises(RuntimeError, match="previous error"):
        backend.capture(lambda: None, pool=pool)
    assert cuda.recording == [] and not cuda.draws_for_a_graph
    assert backend.capture(lambda: 7, pool=pool)[1] == 7, "the shared pool is still of use"


@pytest.mark.filterwarnings("error")
def test_an_empty_graph_is_refused_after_the_capture_has_ended(backend: TorchCudaBackend, cuda: Any) -> None:
    cuda.empty_graph = True
    with pytest.raises(RuntimeError, match="nothing was launched") as caught:
        backend.capture(lambda: None)
    assert backend.capture_refused(caught.value) and not cuda.draws_for_a_graph


@pytest.mark.pitfall(15)
@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("CUDA error: operation not permitted when stream is capturing", True),
        ("CUDA error: capturing stream has unjoined work", True),
        ("CUDA error: dependency created on uncaptured work in another stream", True),
        ("cudaErrorStreamCaptureUnsupported", True),
        ("Cannot copy between CPU and CUDA tensors during CUDA graph capture unless pinned", True),
        ("CUDA error: an illegal memory access was encountered", False),
        ("the size of tensor a must match", False),
    ],
)
def test_what_cannot_be_captured_is_told_from_what_is_wrong(
    backend: TorchCudaBackend, text: str, refused: bool
) -> None:
    outer = ValueError("in layer 3")
    outer.__cause__ = RuntimeError(text)
    outer.__cause__.__cause__ = outer
    assert backend.capture_refused(outer) is refused


def test_a_capture_error_is_known_by_its_number(backend: TorchCudaBackend) -> None:
    error = RuntimeError("localised")
    error.error_code = 901  # type: ignore[attr-defined]
    assert backend.capture_refused(error)


@pytest.mark.parametrize(
    ("kind", "shared", "tried"),
    [("cuda", False, True), ("cuda", True, False), ("xpu", False, False), ("mps", False, False)],
)
def test_sizes_are_tried_where_running_out_of_memory_harms_nothing(
    cuda: Any, kind: str, shared: bool, tried: bool
) -> None:
    cuda.shared_with_host = shared
    backend = TorchCudaBackend(DeviceModule(kind, cuda))
    assert isinstance(backend, SupportsProbe)
    assert backend.may_probe() == tried


def test_the_device_is_named(cuda: Any) -> None:
    backend = TorchCudaBackend(DeviceModule("cuda", cuda))
    with cuda.device(1):
        assert backend.device_name() == "Fake 1"
    assert isinstance(backend, SupportsDeviceName)


def test_events_have_times_only_where_they_are_asked_for(backend: TorchCudaBackend, cuda: Any) -> None:
    """Those that order work have none, as waiting for them would be slower; torch tells milliseconds."""
    assert not backend.event().raw.timed
    first, stream = backend.timed_event(), backend.stream("compute")
    assert first is not None
    first.record(stream)
    stream.submit(lambda: cuda.launch("work"))
    last = first.another()
    last.record(stream)
    assert first.seconds_until(last) == 0.001


def test_inside_of_a_capture_there_are_no_times(backend: TorchCudaBackend) -> None:
    """A recorded step that is captured shows its threads only."""
    seen: list[Any] = []
    backend.capture(lambda: seen.append(backend.timed_event()))
    assert seen[-1] is None
    assert backend.timed_event() is not None
