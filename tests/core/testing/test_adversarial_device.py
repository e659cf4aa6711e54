"""What goes wrong on a real device goes wrong here: each pitfall with the guard and without it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from microbatch.extend.records import FailureKind
from microbatch.testing import AdversarialBackend, DeviceOutOfMemoryError, MemoryModel, SeededOrder, WorkOrder
from microbatch.testing.adversarial.order import WORST_ORDERS
from microbatch.testing.simulated.memory import DeviceMemory
from microbatch.testing.strategies import work_orders

ONES = np.ones(16)


def guarded_and_not(program: Any) -> tuple[list[bool], list[bool]]:
    """Whether the result is right under each of the worst orders, with the guard and without."""
    return (
        [program(AdversarialBackend(order), True) for order in WORST_ORDERS],
        [program(AdversarialBackend(order), False) for order in WORST_ORDERS],
    )


def check_guard(program: Any) -> None:
    with_guard, without = guarded_and_not(program)
    assert all(with_guard)
    assert not all(without)


@pytest.mark.pitfall(9)
def test_pitfall_9_a_missing_wait_on_the_callers_stream_at_entry() -> None:
    def program(backend: AdversarialBackend, guard: bool) -> bool:
        x = backend.array(ONES)
        event = backend.event()
        event.record(backend.current_stream())
        if guard:
            backend.stream("compute").wait(event)
        with backend.stream("compute").activate():
            y = x + 1
            return bool((np.asarray(y) == 2).all())

    check_guard(program)


@pytest.mark.pitfall(9)
def test_pitfall_9_a_missing_wait_of_the_caller_at_exit() -> None:
    def program(backend: AdversarialBackend, guard: bool) -> bool:
        with backend.stream("compute").activate():
            y = backend.array(ONES) + 1
        event = backend.event()
        event.record(backend.stream("compute"))
        if guard:
            backend.current_stream().wait(event)
        return bool((np.asarray(y * 1) == 2).all())

    check_guard(program)


@pytest.mark.pitfall(10)
def test_pitfall_10_a_block_is_used_again_while_another_stream_reads_it() -> None:
    def program(backend: AdversarialBackend, guard: bool) -> bool:
        copy_in, compute, event = backend.stream("copy_in"), backend.stream("compute"), backend.event()
        with copy_in.activate():
            x = backend.array(ONES)
        event.record(copy_in)
        compute.wait(event)
        with compute.activate():
            y = x + 1
        event.record(compute)
        if guard:
            copy_in.wait(event)
        del x
        with copy_in.activate():
            z = backend.array(ONES * 5)
        copy_in.synchronize()
        with compute.activate():
            right = bool((np.asarray(y) == 2).all())
        del z
        return right

    check_guard(program)


@pytest.mark.pitfall(11)
def test_pitfall_11_a_host_read_before_the_copy_is_done() -> None:
    def program(backend: AdversarialBackend, guard: bool) -> bool:
        x, event = backend.array(ONES), backend.event()
        host = backend.staging(ONES.shape, ONES)
        backend.to_host(host, x)
        event.record(backend.current_stream())
        if guard:
            event.synchronize()
        return bool((np.asarray(host) == 1).all())

    with_guard, without = guarded_and_not(program)
    assert all(with_guard)
    assert not any(without)


@pytest.mark.pitfall(12)
def test_pitfall_12_a_staging_buffer_is_filled_too_early() -> None:
    def program(backend: AdversarialBackend, guard: bool) -> bool:
        host, event, parts = backend.staging(ONES.shape, ONES), backend.event(), []
        for number in range(3):
            if guard:
                event.synchronize()
            host[:] = number
            there = backend.empty_device(ONES.shape, ONES)
            backend.to_device(there, host)
            event.record(backend.current_stream())
            parts.append(there)
        return [float(np.asarray(part)[0]) for part in parts] == [0, 1, 2]

    with_guard, without = guarded_and_not(program)
    assert all(with_guard)
    assert not any(without)


def test_a_forgotten_wait_shrinks_to_the_simplest_order() -> None:
    def wrong(order: WorkOrder) -> bool:
        backend = AdversarialBackend(order)
        with backend.stream("copy_in").activate():
            x = backend.array(ONES)
        with backend.stream("compute").activate():
            return not bool((np.asarray(x + 1) == 2).all())

    assert find(work_orders(), wrong, settings=settings(max_examples=200, database=None)) == WorkOrder()


def test_polling_an_event_ends() -> None:
    backend = AdversarialBackend()
    event = backend.event()
    backend.array(ONES)
    event.record(backend.current_stream())
    polls = 0
    while not event.done():
        polls += 1
        assert polls < 100
    assert polls > 0


@given(caching=st.booleans(), fragmentation=st.booleans(), sizes=st.lists(st.integers(1, 64), max_size=20))
def test_memory_never_exceeds_its_capacity(caching: bool, fragmentation: bool, sizes: list[int]) -> None:
    model = MemoryModel(capacity=1024, caching=caching, fragmentation=fragmentation, granularity=8)
    backend = AdversarialBackend(model=model)
    kept: list[Any] = []
    for number, size in enumerate(sizes):
        try:
            kept.append(backend.empty((size,), backend.empty((0,), backend.array(0.0))))
        except DeviceOutOfMemoryError:
            kept = kept[::2]
        reading = backend.memory()
        assert reading.in_use <= reading.peak <= reading.capacity == 1024
        assert reading.usable <= reading.capacity - reading.in_use
        if number % 3 == 2:
            kept = kept[1:]
    kept.clear()
    assert backend.memory().in_use == 0


def holes(blocks: list[tuple[int, int]], capacity: int) -> list[int]:
    """Sizes of the gaps between (address, size) blocks."""
    edges = [(0, 0), *sorted(blocks), (capacity, 0)]
    return [right - left - size for (left, size), (right, _) in pairwise(edges)]


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 40)), max_size=30))
def test_fragmented_memory_fails_exactly_where_no_hole_is_large_enough(steps: list[tuple[bool, int]]) -> None:
    """Against the list of gaps: blocks are disjoint and within the device; it fails exactly when full."""
    memory = DeviceMemory(MemoryModel(capacity=96, caching=False, fragmentation=True, granularity=1), "block")
    kept: list[Any] = []
    for frees, number in steps:
        if frees and kept:
            del kept[number % len(kept)]
            continue
        room = holes([(block.address, block.size) for block in kept], 96)
        assert min(room) >= 0
        assert memory.reading().usable == max(room)
        try:
            kept.append(memory.allocate(number, "compute"))
        except DeviceOutOfMemoryError:
            assert max(room) < number
        else:
            assert max(room) >= number


@given(steps=st.lists(st.tuples(st.sampled_from(["one", "other", "free"]), st.integers(1, 40)), max_size=30))
def test_a_cache_serves_its_own_stream_only_and_counts_against_the_device(
    steps: list[tuple[str, int]],
) -> None:
    """Against a model of two pools; without fragmentation, only the sum counts."""
    memory = DeviceMemory(MemoryModel(capacity=96, granularity=1), "block")
    kept: list[tuple[str, Any]] = []
    pools: dict[str, list[int]] = {"one": [], "other": []}
    for what, number in steps:
        if what == "free":
            if kept:
                owner, block = kept.pop(number % len(kept))
                pools[owner].append(block.size)
                del block
            continue
        fitting = [size for size in pools[what] if number <= size <= 2 * number]
        held = sum(block.size for _, block in kept) + sum(map(sum, pools.values()))
        try:
            block = memory.allocate(number, what)
        except DeviceOutOfMemoryError:
            assert not fitting and held + number > 96
            continue
        assert block.reused == bool(fitting)
        if fitting:
            pools[what].remove(min(fitting))
        else:
            assert held + number <= 96
        kept.append((what, block))
        del block


def test_out_of_memory_is_raised_at_the_launch_and_told_apart() -> None:
    backend = AdversarialBackend(model=MemoryModel(capacity=256))
    x = backend.array(ONES)
    with pytest.raises(MemoryError, match="asked for 128 bytes with 256 in use") as caught:
        y = x + 1
        y = y + (x + 1)
    assert backend.classify(caught.value) is FailureKind.OOM
    del y


def test_a_cache_holds_what_other_streams_freed_until_reclaim() -> None:
    backend = AdversarialBackend(model=MemoryModel(capacity=256))
    with backend.stream("copy_in").activate():
        x = backend.array(ONES)
        y = backend.array(ONES)
    del x, y
    with pytest.raises(DeviceOutOfMemoryError, match="256 cached"):
        backend.array(ONES)
    backend.reclaim()
    backend.array(ONES)


def test_fragmented_memory_has_room_and_no_hole() -> None:
    model = MemoryModel(capacity=512, caching=False, fragmentation=True)
    backend = AdversarialBackend(model=model)
    parts = [backend.array(np.zeros(8)) for _ in range(8)]
    parts = parts[::2]
    assert backend.memory().in_use == 256
    assert backend.memory().usable == 64
    with pytest.raises(DeviceOutOfMemoryError, match="largest hole 64"):
        backend.array(np.zeros(16))
    del parts


def test_a_graph_reads_its_inputs_at_the_replay() -> None:
    backend = AdversarialBackend()
    x = backend.array(ONES)
    graph, y = backend.capture(lambda: x * 2, pool=backend.graph_pool())
    with pytest.raises(RuntimeError, match="cannot synchronize") as caught:
        backend.capture(lambda: float(x[0]))
    assert backend.capture_refused(caught.value)
    for value in (3.0, 4.0):
        x[:] = value
        graph.replay()
        assert (np.asarray(y) == 2 * value).all()


@pytest.mark.pitfall(15)
@pytest.mark.parametrize("through", [None, "copy_in"])
@pytest.mark.parametrize("joins", [True, False])
def test_a_capture_must_be_joined_directly_or_through_another_stream(joins: bool, through: Any) -> None:
    backend = AdversarialBackend()
    x, event = backend.array(ONES), backend.event()
    kept: list[Any] = []

    def work() -> None:
        main, side = backend.current_stream(), backend.stream("communication")
        event.record(main)
        side.wait(event)
        with side.activate():
            kept.append(x * 2)
        event.record(side)
        if through is not None:
            backend.stream(through).wait(event)
            event.record(backend.stream(through))
        if joins:
            main.wait(event)

    if not joins:
        with pytest.raises(RuntimeError, match="unjoined work on communication") as caught:
            backend.capture(work)
        assert backend.capture_refused(caught.value)
        backend.capture(lambda: None)
        return
    graph, _ = backend.capture(work)
    graph.replay()
    assert (np.asarray(kept[1]) == 2).all()


def test_work_of_a_stream_outside_the_capture_is_no_part_of_the_graph() -> None:
    backend = AdversarialBackend()
    x, kept, aside = backend.array(np.zeros(4)), [], backend.stream("communication")

    def work() -> Any:
        with aside.activate():
            kept.append(backend.array(ONES))
        return x + 1

    graph, y = backend.capture(work)
    with aside.activate():
        assert all((np.asarray(array) == 1).all() for array in kept) and len(kept) == 2
    graph.replay()
    assert (np.asarray(y) == 1).all()


def test_pending_work_does_not_keep_alive_what_it_reads() -> None:
    """As on a real device: memory goes back when the program drops the array, whatever is still queued."""
    device = AdversarialBackend(WORST_ORDERS[0])
    target = device.array(np.zeros(64))
    before = device.memory().in_use
    source = device.array(np.ones(64))
    target[:] = source
    np.add(target, source, out=target)
    device.copy(target, source)
    assert device.pending
    del source
    assert device.memory().in_use == before


def test_a_seeded_order_runs_either_of_two_streams_first() -> None:
    """Each under about half of the seeds, and the same under the same seed."""
    candidates = [(0, "default"), (1, "stream0")]
    picked = [SeededOrder(seed).pick(0, candidates) for seed in range(200)]
    assert 60 < sum(picked) < 140
    assert picked == [SeededOrder(seed).pick(0, candidates) for seed in range(200)]


@given(seed=st.integers(0, 1 << 32), decision=st.integers(0, 1000))
def test_who_has_priority_keeps_it_whoever_else_can_run(seed: int, decision: int) -> None:
    """The winner of three is the winner of any two it is among."""
    three = [(0, "a"), (1, "b"), (2, "c")]
    order = SeededOrder(seed)
    winner = order.pick(decision, three)
    for other in {0, 1, 2} - {winner}:
        two = [three[winner], three[other]]
        assert order.pick(decision, two) == 0
