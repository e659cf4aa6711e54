"""Ctrl-C anywhere in a step of tensors: numbers of threads, modes and random numbers are as before."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from msgspec.structs import replace

torch = pytest.importorskip("torch", reason="the torch backends need PyTorch")

import microbatch
from microbatch import dbo
from microbatch.extend.inside import inside
from microbatch.schedules import parallel
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from microbatch_backends.host.backend import CpuBackend
from microbatch_backends.host.blas import process_blas_limit
from microbatch_backends.torch_device import arrays
from microbatch_backends.torch_device.backend import TorchCpuBackend
from microbatch_backends.torch_device.modes import Inference, Unrecorded, read_modes
from tests.support.interrupts import OUR_PACKAGES, Interrupt, in_thread_of_its_own, strikes
from tests.support.surroundings import surroundings
from tests.support.taking_turns import make_step

pytestmark = pytest.mark.torch

HERE = ("microbatch_backends/torch_device/", "microbatch_backends/host/state.py", "extend/inside.py")
ROWS = torch.linspace(0.0, 1.0, 96).reshape(12, 8)


def layers(x: Any) -> Any:
    half = x * 2.0 + 1.0
    dbo.dbo_yield()
    return half.tanh()


KINDS: dict[str, dict[str, Any]] = {
    "parallel": {"schedule": "parallel", "thread_pool_size": 3},
    "shown each time": {"schedule": "sequential", "verify": "always"},
}
if find_spec("greenlet") is not None:
    KINDS["greenlets"] = {"schedule": "pingpong", "driver": "greenlets"}


@pytest.mark.pitfall(26)
@pytest.mark.case(31)
@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
@pytest.mark.parametrize("kind", KINDS)
@in_thread_of_its_own
def test_an_interrupt_anywhere_in_a_step_changes_nothing_for_good(kind: str, recorded: bool) -> None:
    """Recorded by autograd, writing a result needs a mode that does not record."""
    rows = ROWS.clone().requires_grad_(recorded)
    with microbatch.wrap(layers, num_ubatches=3, **KINDS[kind]) as wrapped, torch.autocast("cpu"):
        for _ in range(3):
            wrapped(rows)
        before = surroundings()
        for at in strikes(lambda: wrapped(rows), 60):
            with contextlib.suppress(KeyboardInterrupt), Interrupt(at, OUR_PACKAGES, as_signals=True):
                wrapped(rows)
            assert surroundings() == before, f"bytecode {at}"
        assert torch.equal(wrapped(rows), layers(rows))


@pytest.mark.pitfall(26)
@pytest.mark.case(31)
@in_thread_of_its_own
def test_an_interrupt_at_every_bytecode_of_a_parallel_step_keeps_no_limit_and_loses_no_thread() -> None:
    ours = ("schedules/parallel.py", "host/limits.py", "host/blas.py", "device/limits.py", "extend/inside.py")
    pool, backend = WorkerPool(ThreadRuntime()), CpuBackend()
    blas, before = process_blas_limit(), (process_blas_limit().read(), torch.get_num_threads())
    done: list[int] = []

    def step() -> None:
        made = make_step(ThreadRuntime(), pool, 3, lambda _, ubatch: done.append(ubatch), backend=backend)
        parallel.run(replace(made, parallelism=3))

    step()
    kept: list[BaseException] = []
    for at in range(1, 20_000):
        interrupt = Interrupt(at, ours)
        try:
            with interrupt:
                step()
        except KeyboardInterrupt as error:
            kept[:] = [error]
        assert (blas.read(), torch.get_num_threads(), blas.threads()) == (*before, 0), f"bytecode {at}"
        if interrupt.seen < at:
            break
    assert at > 1000
    done.clear()
    step()
    assert sorted(done) == [0, 1, 2]
    assert pool.num_threads <= 2
    pool.shutdown()


BLOCKS: dict[str, Callable[[], Any]] = {
    "unrecorded": Unrecorded,
    "inference": lambda: Inference(on=True),
    "trial": TorchCpuBackend().trial,
    "state": lambda: STATE.apply(),
}
with torch.no_grad(), torch.autocast("cpu"):
    STATE = TorchCpuBackend().thread_state()


@pytest.mark.parametrize("name", BLOCKS)
@in_thread_of_its_own
def test_a_block_is_left_wherever_an_interrupt_strikes(name: str) -> None:
    """Although the error, and with it the frames, is kept."""
    kept: list[BaseException] = []
    before = surroundings()
    for at in range(1, 3000):
        interrupt = Interrupt(at, HERE)
        try:
            with interrupt:
                inside(BLOCKS[name](), lambda _: None)
        except KeyboardInterrupt as error:
            kept[:] = [error]
        assert surroundings() == before, f"bytecode {at}"
        if interrupt.seen < at:
            break
    assert at > 20


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_may_be_left_more_than_once_and_without_having_been_entered(name: str) -> None:
    before = surroundings()
    block = BLOCKS[name]()
    block.__exit__(None, None, None)
    assert surroundings() == before
    block = BLOCKS[name]()
    block.__enter__()
    assert read_modes(("cpu",)) != before["modes"]
    for _ in range(3):
        block.__exit__(None, None, None)
        assert surroundings() == before


@pytest.mark.parametrize("write", ["copy", "scatter"])
@in_thread_of_its_own
def test_an_interrupt_while_a_result_is_written_leaves_autograd_recording(write: str) -> None:
    source, inference = torch.ones(2, requires_grad=True), torch.inference_mode()
    with inference:
        kept_in_inference = torch.zeros(2)
    before = read_modes(("cpu",))
    for destination in (torch.zeros(2), kept_in_inference):
        for at in range(1, 500):
            interrupt = Interrupt(at, HERE)
            with contextlib.suppress(KeyboardInterrupt), interrupt:
                if write == "copy":
                    arrays.copy(destination, source)
                else:
                    arrays.scatter(destination, [0, 1], source, 0)
            assert read_modes(("cpu",)) == before, f"bytecode {at}"
            if interrupt.seen < at:
                break


STORM = """
import random, signal, sys
import numpy as np, torch
import microbatch
from tests.support.surroundings import surroundings

weights = np.linspace(-1.0, 1.0, 64 * 64).reshape(64, 64)
batches = np.linspace(0.0, 1.0, 96 * 64).reshape(96, 64), torch.linspace(0.0, 1.0, 96 * 64).reshape(96, 64)
options = {"policy": "fixed", "num_ubatches": 4, "schedule": "parallel"}
wrapped = [
    (microbatch.wrap(lambda x: np.maximum(x @ weights, 0.0) @ weights, **options), batches[0]),
    (microbatch.wrap(lambda x: (x * 2.0).tanh(), verify="always", **options), batches[1]),
]
for function, rows in wrapped:
    function(rows)
armed, struck, draw = [False], 0, random.Random(1)

def strike(*_):
    if armed[0]:
        armed[0] = False
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, strike)
before = surroundings()
for number in range(int(sys.argv[1])):
    function, rows = wrapped[number % 2]
    armed[0] = True
    try:
        signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, 2e-3), 0.02)
        while armed[0]:
            function(rows)
    except KeyboardInterrupt:
        struck += 1
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    after = surroundings()
    assert after == before, {name: after[name] for name in before if after[name] != before[name]}
assert struck > int(sys.argv[1]) // 2, struck
"""


@pytest.mark.pitfall(26)
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals")
def test_real_signals_at_any_time_change_nothing_for_good() -> None:
    """In a process of its own; a handler may run in the frames of torch and Python too."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", STORM, "60"],
        capture_output=True, text=True, timeout=120, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
