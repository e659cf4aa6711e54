"""torch's thread count: each worker gets its share, and every thread has the full number afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the torch backends need PyTorch")

from microbatch.extend.inside import inside
from microbatch_backends.host.backend import CpuBackend
from microbatch_backends.torch_device.backend import TorchCpuBackend
from microbatch_backends.torch_device.limits import IntraOpThreads
from tests.support.interrupts import Interrupt, in_thread_of_its_own


@pytest.fixture(autouse=True)
def four() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def fresh(function: Callable[[], int]) -> int:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@pytest.mark.pitfall(4)
@given(workers=st.integers(1, 6))
def test_shares_inside_and_the_full_number_after(workers: int) -> None:
    backend, meeting, inside = TorchCpuBackend(), threading.Barrier(workers), list[int]()

    def work() -> None:
        with backend.worker_limits(workers):
            meeting.wait(20)  # the last thread first asks torch while the others have their share
            inside.append(torch.get_num_threads())
            meeting.wait(20)

    with ThreadPoolExecutor(workers) as pool:
        with backend.parallel_limits(workers):
            for task in [pool.submit(work) for _ in range(workers)]:
                task.result()
        assert inside == [max(1, 4 // workers)] * workers
        assert pool.submit(torch.get_num_threads).result() == 4
    assert torch.get_num_threads() == 4 and fresh(torch.get_num_threads) == 4


@pytest.mark.pitfall(4)
def test_a_late_worker_learns_the_full_number() -> None:
    threads = IntraOpThreads()

    def late() -> int:
        with threads.share(2):
            pass
        return torch.get_num_threads()

    with threads.hold(2), threads.share(4):
        assert torch.get_num_threads() == 1
        assert fresh(late) == 4


def test_overlapping_steps_restore_the_first_number() -> None:
    threads = IntraOpThreads()
    first, second = threads.hold(2), threads.hold(2)
    first.__enter__()
    torch.set_num_threads(1)
    second.__enter__()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == 4


def test_a_share_is_given_back_when_the_work_raises() -> None:
    with pytest.raises(ZeroDivisionError), IntraOpThreads().share(4):
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == 4


def test_the_cpu_backend_shares_out_torch_too_where_it_is_loaded() -> None:
    backend = CpuBackend()
    with backend.parallel_limits(4), backend.worker_limits(4):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 4


def test_a_step_that_begins_while_the_last_one_ends_puts_back_the_full_number() -> None:
    """Its thread asked torch for the first time while the other step had set one."""
    threads, joined = IntraOpThreads(), threading.Event()
    first = threads.hold(4)
    first.__enter__()
    share = threads.share(4)
    share.__enter__()

    def second_step() -> int:
        with threads.hold(2):
            joined.set()
            assert go_on.wait(30)
        return torch.get_num_threads()

    go_on = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(second_step)
        assert joined.wait(30)
        share.__exit__()
        first.__exit__()
        go_on.set()
        assert second.result() == 4
    assert torch.get_num_threads() == 4 and fresh(torch.get_num_threads) == 4


@in_thread_of_its_own
def test_an_interrupt_at_any_bytecode_of_a_share_changes_no_number_for_good() -> None:
    torch.set_num_threads(4)
    for at in range(1, 2000):
        threads = IntraOpThreads()
        interrupt = Interrupt(at, ("torch_device/limits.py", "extend/inside.py"))
        with suppress(KeyboardInterrupt), interrupt:
            inside(threads.hold(2), lambda _: inside(threads.share(2), lambda _: None))  # noqa: B023
        assert torch.get_num_threads() == 4, f"bytecode {at}"
        assert fresh(torch.get_num_threads) == 4, f"bytecode {at}"
        if interrupt.seen < at:
            break
    assert at > 100


def test_a_child_forked_inside_a_step_has_the_full_number() -> None:
    """The thread that was forked, which had a share, and those that it starts."""
    threads = IntraOpThreads()
    with threads.hold(4), threads.share(4):
        assert torch.get_num_threads() == 1
        threads.forked()
        assert torch.get_num_threads() == 4 and fresh(torch.get_num_threads) == 4
    assert torch.get_num_threads() == 4
