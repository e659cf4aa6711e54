"""`streamed` on the host: the three stages overlap, and a mapped file bigger than the memory used goes
through."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import microbatch
from microbatch import UBatchConfig
from microbatch.errors import LayoutError
from microbatch.extend.device import device_of
from microbatch.schedules import streamed
from microbatch.schedules.staging import Mover
from microbatch.schedules.step import Step
from microbatch.step.ubatches import make_ubatch_contexts
from microbatch.testing import AdversarialBackend, DeviceOutOfMemoryError, MemoryModel
from microbatch.testing.given_plugins import GivenBackends
from microbatch.turns.runtime import default_runtime
from microbatch.turns.workers import WorkerPool
from microbatch_backends.host.backend import CpuBackend


def step(load: Any, compute: Any, store: Any, ubatches: int, **config: Any) -> Step:
    runtime = default_runtime()
    return Step(
        contexts=make_ubatch_contexts(ubatches, ubatches, ubatches),
        load=load,
        compute=compute,
        store=store,
        device=device_of(CpuBackend()),
        config=UBatchConfig(**config),
        runtime=runtime,
        workers=WorkerPool(runtime),
    )


def test_three_neighbouring_ubatches_are_in_three_stages_at_once() -> None:
    """Each stage of the middle of the step waits for the other two, so without overlap this would never
    end."""
    meeting = threading.Barrier(3, timeout=30)
    met: list[tuple[str, int]] = []

    def meet(stage: str, ubatch: int, turn: int) -> None:
        if 2 <= turn < 8:
            meeting.wait()
            met.append((stage, ubatch))

    def load(context: Any) -> int:
        meet("load", context.ubatch_id, context.ubatch_id)
        return int(context.ubatch_id)

    def compute(context: Any, value: int) -> int:
        meet("compute", context.ubatch_id, context.ubatch_id + 1)
        return value

    def store(context: Any, value: int) -> None:
        meet("store", context.ubatch_id, context.ubatch_id + 2)

    # three stages that meet hold three slots, and a fourth is loaded while they do
    streamed.run(step(load, compute, store, 8))
    assert len(met) == 18


@given(ubatches=st.integers(1, 7), at=st.integers(0, 6), stage=st.sampled_from(["load", "compute", "store"]))
def test_every_ubatch_passes_once_and_the_first_error_wins(ubatches: int, at: int, stage: str) -> None:
    seen: list[tuple[str, int]] = []

    def fail(name: str, context: Any) -> None:
        if (name, context.ubatch_id) == (stage, at):
            raise KeyError(name)
        seen.append((name, context.ubatch_id))

    run = step(
        lambda context: fail("load", context),
        lambda context, value: fail("compute", context),
        lambda context, value: fail("store", context),
        ubatches,
    )
    if at < ubatches:
        with pytest.raises(KeyError, match=stage) as caught:
            streamed.run(run)
        assert f"in ubatch {at} of {ubatches}" in caught.value.__notes__[0]
    else:
        streamed.run(run)
        assert sorted(seen) == sorted(
            (name, i) for name in ("load", "compute", "store") for i in range(ubatches)
        )
    assert len(seen) == len(set(seen))


def test_a_mapped_file_larger_than_the_memory_used(tmp_path: Path) -> None:
    rows, width = 1 << 14, 512
    mapped = np.lib.format.open_memmap(tmp_path / "in.npy", "w+", "f4", (rows, width))
    mapped[:, 0] = np.arange(rows)
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", "f4", (rows, width))
    ubatches = 64
    part = mapped.nbytes // ubatches
    with microbatch.wrap(
        lambda x: x + 1, schedule="streamed", num_ubatches=ubatches, policy="fixed"
    ) as wrapped:
        wrapped(mapped[:ubatches], out=out[:ubatches])
        tracemalloc.start()
        try:
            wrapped(mapped, out=out)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 2 * part * (streamed.SLOTS + 1)
    assert peak < mapped.nbytes / 6
    np.testing.assert_array_equal(out[:, 0], np.arange(rows, dtype="f4") + 1)


def in_file(array: np.ndarray) -> bool:
    """Whether its bytes are those of a mapped file."""
    return isinstance(array, np.memmap)


class Watched(CpuBackend):
    """The cpu backend, telling when rows are read from a mapped file and when they are written to one.

    In the turns 2 to 7 the three stages meet in the middle of their work: were one of them to wait for
    another to end, nobody would ever go on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: list[tuple[str, str, int]] = []
        self._counts = dict.fromkeys(("read", "compute", "write"), -1 << 20)  # no turn at which they meet
        self._first = dict(self._counts)
        self._meeting = threading.Barrier(3, timeout=30)
        self.looked_at = False

    def begin(self) -> None:
        """Begin the step that is looked at."""
        self.looked_at = True
        self.log.clear()
        self._counts = {"read": 0, "compute": 1, "write": 2}
        self._first = dict(self._counts)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Note begin and end of the next part of this stage; each stage takes parts in order."""
        turn = self._counts[name]
        self._counts[name] += 1
        part = turn - self._first[name]
        self.log.append(("begin", name, part))
        if 2 <= turn < 8:
            self._meeting.wait()
        yield
        self.log.append(("end", name, part))

    def copy(self, destination: Any, source: Any) -> None:
        """As ever."""
        stages = [
            self.stage(name) for name, array in (("read", source), ("write", destination)) if in_file(array)
        ]
        with ExitStack() as stack:
            for stage in stages:
                stack.enter_context(stage)
            super().copy(destination, source)


@pytest.mark.counted
def test_a_file_bigger_than_the_memory_limit_is_read_computed_and_written_at_once(tmp_path: Path) -> None:
    rows, width, limit = 1 << 13, 512, 4 << 20
    mapped = np.lib.format.open_memmap(tmp_path / "in.npy", "w+", "f4", (rows, width))
    mapped[:] = np.arange(rows, dtype="f4")[:, None]
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", "f4", (rows, width))
    device = Watched()

    def work(x: Any) -> Any:
        with device.stage("compute"):
            assert not (device.looked_at and in_file(x)), "the function was left to read the file itself"
            return x * 2 + 1

    with microbatch.wrap(
        work, schedule="streamed", plugins=GivenBackends(device), memory_limit=limit, backend="cpu"
    ) as wrapped:
        few = 64
        wrapped(mapped[:few], out=out[:few])  # it is seen what rows need, in small parts
        device.begin()
        tracemalloc.start()
        try:
            assert wrapped(mapped, out=out) is out
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        report = wrapped.last_report
    assert mapped.nbytes == 4 * limit
    assert peak < limit
    np.testing.assert_array_equal(out, mapped * 2 + 1)
    assert report is not None and report.schedule == "streamed"
    parts = len(report.sizes)
    assert parts > 3 * streamed.SLOTS
    assert sorted(device.log) == sorted(
        (what, stage, part)
        for what in ("begin", "end")
        for stage in ("read", "compute", "write")
        for part in range(parts)
    )
    at = {entry: place for place, entry in enumerate(device.log)}
    for part in range(1, 6):
        assert at["begin", "read", part + 1] < at["end", "compute", part]
        assert at["begin", "write", part - 1] < at["end", "compute", part]
    for part in range(streamed.SLOTS, parts):
        assert at["end", "write", part - streamed.SLOTS] < at["begin", "read", part]


@pytest.mark.counted
@pytest.mark.parametrize("slots", [1, 2, 3, 6])
def test_copying_in_waits_for_room(slots: int) -> None:
    """With room for fewer ubatches than the ring has slots, the step is slower and not wrong."""
    x = np.arange(80.0).reshape(10, 8)
    part = 2 * 8 * 8
    device = AdversarialBackend(model=MemoryModel(capacity=slots * 2 * part, granularity=8))
    with microbatch.wrap(
        lambda x: x + 1,
        schedule="streamed",
        backend="adversarial",
        plugins=GivenBackends(device),
        num_ubatches=5,
        policy="fixed",
    ) as wrapped:
        np.testing.assert_array_equal(wrapped(x), x + 1)
        assert wrapped.last_report is not None
        assert len(wrapped.last_report.sizes) == 5


@pytest.mark.counted
def test_a_part_that_never_fits_raises_the_devices_error() -> None:
    device = AdversarialBackend(model=MemoryModel(capacity=64))
    with (
        microbatch.wrap(
            lambda x: x,
            schedule="streamed",
            backend="adversarial",
            plugins=GivenBackends(device),
            num_ubatches=2,
        ) as wrapped,
        pytest.raises(DeviceOutOfMemoryError),
    ):
        wrapped(np.ones((4, 64)))
    assert device.pending == 0
    assert device.memory().in_use == 0


def test_a_batch_with_anything_on_the_device_stays_where_it_is() -> None:
    device = AdversarialBackend()
    there, here = device.array([1.0]), np.ones(2)
    inputs, moved = Mover(device_of(device)).fetch({"there": there, "here": here}, {})
    assert not moved
    assert inputs["here"] is here
    inputs, moved = Mover(device_of(device)).fetch({"here": here, "more": [here, 3]}, {})
    assert moved
    assert device.owns(inputs["here"]) and device.owns(inputs["more"][0])
    assert inputs["more"][1] == 3


def test_autograd_on_the_host_is_refused_before_anything_moves() -> None:
    class Recording(AdversarialBackend):
        def differentiable(self, arrays: Any) -> bool:
            return True

    device = Recording()
    with pytest.raises(LayoutError, match="move the batch to the device"):
        Mover(device_of(device)).fetch(np.ones(2), {})
    assert device.pending == 0


def test_staging_of_inputs_is_used_again_by_the_same_slot() -> None:
    device = AdversarialBackend()
    mover, buffers = Mover(device_of(device)), {}
    mover.fetch(np.ones(4), buffers)
    first = buffers[0]
    mover.fetch(np.ones(4), buffers)
    assert buffers[0] is first
    mover.fetch(np.ones(3), buffers)
    assert buffers[0] is not first
