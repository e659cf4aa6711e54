"""The simulated torch device itself: what is queued, what waits, what memory does, and what is put back."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch

from hypothesis import given
from hypothesis import strategies as st

from microbatch.errors import ArgumentValueError
from microbatch.testing import torch_device


def host(tensor: Any) -> np.ndarray[Any, Any]:
    """The values, after the current stream's work."""
    return np.asarray(tensor.detach().cpu().numpy())


def test_work_waits_until_the_host_reads() -> None:
    """Nothing runs at its launch; a read runs what it needs."""
    with torch_device() as device:
        x = torch.ones(4, device="cuda")
        y = x * 2 + 1
        assert device.pending == 3
        assert y.sum().item() == 12
        assert y.device == torch.device("cuda", 0) and y.is_cuda and not y.is_cpu


@given(seed=st.integers(0, 1 << 20), waits=st.booleans())
def test_a_forgotten_wait_is_found_and_a_kept_one_is_right(seed: int, waits: bool) -> None:
    """Under some orders by a wrong value, under all by name."""
    with torch_device(seed) as device:
        side = torch.cuda.Stream()
        x = torch.ones(64, device="cuda") * 3
        if waits:
            side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            y = x + 1
        side.synchronize()
        values = host(y)
        assert bool(device.races()) is not waits
        assert (values == 4).all() or (np.isnan(values).any() and not waits)


def test_orders_differ() -> None:
    """A forgotten wait is wrong under about half of the seeds."""

    def wrong(seed: int) -> bool:
        with torch_device(seed):
            side, x = torch.cuda.Stream(), torch.ones(64, device="cuda") * 3
            with torch.cuda.stream(side):
                y = x + 1
            side.synchronize()
            return bool(np.isnan(y.place.raw.numpy()).any())

    assert 5 < sum(map(wrong, range(40))) < 40


@pytest.mark.parametrize("recorded", [False, True])
def test_memory_that_is_dropped_goes_to_the_same_stream_at_once(recorded: bool) -> None:
    """Unless `record_stream` says who still reads it, or that one was waited for."""

    def values(protect: str) -> tuple[bool, int]:
        with torch_device(1) as device:
            side, x = torch.cuda.Stream(), torch.full((256,), 7.0, device="cuda")
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                y = x * 1
            if protect == "record_stream":
                x.record_stream(side)
            before = x.data_ptr()
            del x
            if protect == "wait":
                torch.cuda.current_stream().wait_stream(side)
            again = torch.full((256,), 1.0, device="cuda")
            torch.cuda.current_stream().synchronize()
            side.synchronize()
            assert (again.data_ptr() == before) == (protect != "record_stream")
            return bool((y.place.raw == 7).all()), len(device.races())

    assert values("wait") == (True, 0)
    assert values("record_stream") == (True, 0)
    assert values("")[1] > 0


def test_memory_that_was_recorded_comes_back_once_it_is_read() -> None:
    """After the stream that reads it has gone on, the block is handed out again."""
    with torch_device(1) as device:
        side, x = torch.cuda.Stream(), torch.full((256,), 7.0, device="cuda")
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            y = x * 1
        x.record_stream(side)
        before = x.data_ptr()
        del x
        torch.empty(256, device="cuda")  # the allocator looks at what was freed
        torch.cuda.synchronize()
        assert before in {torch.empty(256, device="cuda").data_ptr() for _ in range(4)}
        assert (host(y) == 7).all() and not device.races()


def test_views_share_memory_and_writes_show() -> None:
    """Views, slices and in-place work, as on a real device."""
    with torch_device() as device:
        x = torch.zeros(4, 6, device="cuda")
        x[1:3, ::2] += 5
        x.t()[0].fill_(9)
        x.view(-1)[5] = 2
        x[torch.tensor([3], device="cuda")] = 1
        x[x > 8] = -1
        expected = np.zeros((4, 6))
        expected[1:3, ::2] += 5
        expected.T[0] = 9
        expected.reshape(-1)[5] = 2
        expected[[3]] = 1
        expected[expected > 8] = -1
        np.testing.assert_array_equal(host(x), expected)
        assert not device.races()


def test_operations_equal_those_of_the_host() -> None:
    """Shapes that depend on values, lists of tensors, what C++ makes on the host."""
    with torch_device(5):
        torch.manual_seed(3)
        plain = torch.randn(5, 7)
        x = plain.cuda()
        for function in (
            lambda t: t[t > 0],
            lambda t: torch.nonzero(t > 0),
            lambda t: torch.cat([t, t * 2], 1).split(3, 1)[1],
            lambda t: t.topk(2)[1],
            lambda t: torch.nn.functional.one_hot(t.argmax(1), 8),
            lambda t: torch.einsum("ij,kj->ik", t, t),
            lambda t: torch.where(t > 0, t, 0.5).cumsum(0),
            lambda t: t.unique(),
            lambda t: t.sort(dim=1, descending=True).values,
            lambda t: t.to(torch.float64).type(torch.int32),
            lambda t: torch.stack(list(t)).unbind()[2],
            lambda t: t.new_zeros(3) + torch.arange(3, device=t.device),
            lambda t: torch.bincount(t.abs().long().reshape(-1)),
            lambda t: torch.linalg.solve(t[:, :5] @ t[:, :5].T + torch.eye(5, device=t.device), t),
        ):
            result, expected = function(x), function(plain)
            assert result.is_cuda and result.shape == expected.shape and result.dtype == expected.dtype
            torch.testing.assert_close(result.cpu(), expected)


def test_a_wrong_shape_is_an_error_where_it_is_launched() -> None:
    """Before anything waits."""
    with torch_device(), pytest.raises(RuntimeError, match="broadcast"):
        torch.zeros(3, device="cuda") + torch.zeros(4, device="cuda")


def test_gradients_equal_those_of_the_host() -> None:
    """Forward, backward, an optimizer, copies between host and device inside of the graph."""

    def trained(place: str) -> list[Any]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        x, scale = torch.randn(6, 4), torch.ones(2, requires_grad=True)
        model = model.to(place)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.zero_grad()
            ((model(x.to(place)) * scale.to(place)) ** 2).mean().backward()
            optimizer.step()
        return [parameter.detach().cpu() for parameter in model.parameters()] + [scale.grad]

    with torch_device(4) as device:
        there = trained("cuda")
        assert not device.races()
    for one, other in zip(there, trained("cpu"), strict=True):
        torch.testing.assert_close(one, other)


def test_pinned_copies_run_later_and_pageable_ones_read_now() -> None:
    """A pinned source is copied as it is by then; a pinned target is poison before."""
    with torch_device():
        pinned = torch.ones(8).pin_memory()
        assert pinned.is_pinned() and not torch.ones(8).is_pinned()
        late = pinned.to("cuda", non_blocking=True)
        pinned.fill_(2)
        assert (host(late) == 2).all()
        pageable = torch.ones(8)
        now = pageable.to("cuda", non_blocking=True)
        pageable.fill_(2)
        assert (host(now) == 1).all()
        target = torch.empty(8, pin_memory=True)
        target.copy_(late, non_blocking=True)
        assert target.isnan().all()
        torch.cuda.synchronize()
        assert (target == 2).all()


def test_random_numbers_follow_from_the_launch_and_leave_the_host_alone() -> None:
    """The order in which work runs does not change them; seeds and states are torch's."""

    def drawn(order: int) -> Any:
        with torch_device(order):
            torch.manual_seed(1)
            before, side = torch.get_rng_state(), torch.cuda.Stream()
            x = torch.randn(8, device="cuda")
            with torch.cuda.stream(side):
                y = torch.nn.functional.dropout(torch.ones(64, device="cuda"))
            side.synchronize()
            assert torch.equal(before, torch.get_rng_state())
            state = torch.cuda.get_rng_state()
            again = torch.rand(3, device="cuda")
            torch.cuda.set_rng_state(state)
            assert torch.equal(again.cpu(), torch.rand(3, device="cuda").cpu())
            return np.concatenate([host(x), y.cpu().numpy()])

    np.testing.assert_array_equal(drawn(0), drawn(7))


def test_running_out_of_memory_raises_torchs_error_and_gives_back_what_is_unused() -> None:
    """The cache is emptied first; a limit of the process is kept."""
    with torch_device(capacity=1 << 20):
        x = torch.zeros(100_000, device="cuda")
        del x
        y = torch.zeros(200_000, device="cuda")  # only fits once the block of `x` was given back
        with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
            torch.zeros(200_000, device="cuda")
        del y
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(0.5)
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(200_000, device="cuda")
        assert torch.cuda.memory_stats()["num_alloc_retries"] == 3
        free, total = torch.cuda.mem_get_info()
        assert free <= total == 1 << 20


def test_a_graph_replays_into_its_static_buffers() -> None:
    """What was captured runs at each replay and not before; a side stream takes part."""
    with torch_device(2) as device:
        given, side = torch.zeros(16, device="cuda"), torch.cuda.Stream()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            doubled = given * 2
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                more = doubled + 1
            torch.cuda.current_stream().wait_stream(side)
            result = more * 10
        for value in (1.0, 2.0):
            given.fill_(value)
            graph.replay()
            assert (host(result) == (2 * value + 1) * 10).all()
        assert not device.races()


@pytest.mark.parametrize("forbidden", ["item", "synchronize", "unjoined", "outside"])
def test_what_cannot_be_captured_is_refused(forbidden: str) -> None:
    """And the streams have left the capture."""
    with torch_device():
        x, side, before = torch.ones(4, device="cuda"), torch.cuda.Stream(), torch.cuda.Event()
        before.record()
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        with torch.cuda.stream(stream), pytest.raises(RuntimeError, match="captur"):
            graph.capture_begin()
            try:
                y = x * 2
                if forbidden == "item":
                    y.sum().item()
                elif forbidden == "synchronize":
                    stream.synchronize()
                elif forbidden == "outside":
                    stream.wait_event(before)
                side.wait_stream(stream)
                with torch.cuda.stream(side):
                    y + 1
            finally:
                graph.capture_end()
        assert not torch.cuda.is_current_stream_capturing()
        assert (host(x + 1) == 2).all()


def test_every_thread_sees_the_device_and_has_streams_of_its_own() -> None:
    """Current streams are of a thread."""
    with torch_device(), torch.cuda.stream(torch.cuda.Stream()):
        seen: list[Any] = []

        def body() -> None:
            seen.append(torch.ones(2, device="cuda").sum().item())
            seen.append(torch.cuda.current_stream() == torch.cuda.default_stream())

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        assert seen == [2.0, True]
        assert torch.cuda.current_stream() != torch.cuda.default_stream()


def test_torch_is_as_before_after_the_block() -> None:
    """Functions, methods and the backends of the process, however the block is left."""
    before = (torch.zeros, torch.Tensor.to, torch.cuda.current_stream, torch.cuda.is_available())
    with pytest.raises(KeyError), torch_device():
        assert torch.cuda.is_available()
        raise KeyError
    assert before == (torch.zeros, torch.Tensor.to, torch.cuda.current_stream, torch.cuda.is_available())


def test_one_block_at_a_time() -> None:
    """torch's functions belong to the process."""
    with torch_device(), pytest.raises(ArgumentValueError, match="already"), torch_device():
        pass


@pytest.mark.parametrize("name", ["Stream", "Event", "CUDAGraph", "graph"])
def test_what_was_a_class_is_one(name: str) -> None:
    """So that `isinstance` works, and annotations of libraries that are imported inside."""
    with torch_device():
        kind = getattr(torch.cuda, name)
        assert kind | None
        made = kind(torch.cuda.CUDAGraph()) if name == "graph" else kind()
        assert isinstance(made, kind) and not isinstance(object(), kind)
        assert isinstance(torch.cuda.current_stream(), torch.cuda.Stream)
        assert isinstance(torch.cuda.current_stream().record_event(), torch.cuda.Event)


@pytest.mark.parametrize("place", ["cpu", "cuda", "cuda:0", "meta"])
def test_a_default_device_with_or_without_a_number_is_where_tensors_are_made(place: str) -> None:
    """Of `with torch.device(...)`, as libraries have it around making a model; torch asks for its functions
    when that is first used, and keeps them."""
    torch.utils._device._device_constructors.cache_clear()
    with torch_device():
        with torch.device(place):
            made = [torch.ones(2), torch.tensor([1.0]), torch.empty(3), torch.nn.Linear(2, 2).weight]
        assert {tensor.device.type for tensor in made} == {torch.device(place).type}
    with torch.device("meta"):
        assert torch.ones(2).is_meta


def test_modules_move_and_are_copied() -> None:
    """Parameters stay parameters."""
    with torch_device():
        module = copy.deepcopy(torch.nn.BatchNorm1d(3).cuda())
        assert all(isinstance(weight, torch.nn.Parameter) for weight in module.parameters())
        assert all(weight.is_cuda for weight in [*module.parameters(), *module.buffers()])
        module(torch.randn(8, 3, device="cuda"))
        assert module.num_batches_tracked.item() == 1
        assert not module.cpu().weight.is_cuda


def test_33_streams_of_a_priority_are_32() -> None:
    """As torch hands them out."""
    with torch_device():
        streams = [torch.cuda.Stream() for _ in range(33)]
        assert streams[32] == streams[0] and len(set(streams)) == 32
        assert torch.cuda.Stream(priority=-1) not in streams
