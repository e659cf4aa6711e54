"""torch's modes go to the thread that applies them, and nothing of what runs there stays behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the torch backends need PyTorch")

from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from microbatch.errors import ThreadStateError
from microbatch_backends.torch_device.backend import TorchCpuBackend
from microbatch_backends.torch_device.modes import read_modes, write_modes
from microbatch_backends.torch_device.state import TorchState, mode_depth

TYPES = ("cpu", "cuda")


class Function(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@contextmanager
def no_forward() -> Iterator[None]:
    torch._C._set_fwd_grad_enabled(False)
    try:
        yield
    finally:
        torch._C._set_fwd_grad_enabled(True)


MODES: dict[str, Callable[[], Any]] = {
    "no_grad": torch.no_grad,
    "enable_grad": torch.enable_grad,
    "inference": torch.inference_mode,
    "no_inference": lambda: torch.inference_mode(False),
    "bfloat16": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float16": lambda: torch.autocast("cpu", dtype=torch.float16, cache_enabled=False),
    "cuda": lambda: torch.autocast("cuda", dtype=torch.float16),
    "no_autocast": lambda: torch.autocast("cpu", enabled=False),
    "meta": lambda: torch.device("meta"),
    "function": Function,
    "dispatch": Dispatch,
    "multithreading": lambda: torch.autograd.set_multithreading_enabled(False),
    "no_forward": no_forward,
}
modes = st.lists(st.sampled_from(sorted(MODES)), max_size=4)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch warns of autocast for a device that is not there; the flag is what is tested."""
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    before = probe()
    yield
    assert probe() == before


def probe() -> Any:
    """All that a function could see, by torch's public face as far as there is one."""
    return (
        read_modes(TYPES),
        np.geterr(),
        torch.get_default_device() if not torch._C._len_torch_dispatch_stack() else None,
        torch.autocast_increment_nesting() - torch.autocast_decrement_nesting(),
    )


def in_thread(function: Callable[[], Any]) -> Any:
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(function())
        except BaseException as error:  # noqa: BLE001 - raised in the test
            answers.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(answers[0], BaseException):
        raise answers[0]
    return answers[0]


def entered(names: list[str]) -> ExitStack:
    stack = ExitStack()
    for name in names:
        stack.enter_context(MODES[name]())
    return stack


@pytest.mark.pitfall(1, 2)
@pytest.mark.case(45)
@pytest.mark.filterwarnings(
    "ignore:In CPU autocast|User provided device_type of 'cuda'|CUDA is not available:UserWarning"
)
@given(caller=modes, worker=modes)
def test_a_worker_computes_as_the_caller_does_and_is_itself_again(
    caller: list[str], worker: list[str]
) -> None:
    with entered(caller):
        state, expected = TorchState(TYPES), read_modes(TYPES)

    def work() -> None:
        with entered(worker):
            before = probe()
            with state.apply():
                assert read_modes(TYPES) == expected
            assert probe() == before

    in_thread(work)


LEAKS: dict[str, Callable[[], object]] = {
    "grad": lambda: torch._C._set_grad_enabled(not torch.is_grad_enabled()),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "dtype": lambda: torch.set_autocast_dtype("cpu", torch.float16),
    "cache": lambda: torch.set_autocast_cache_enabled(False),
    "function": lambda: torch._C._push_on_torch_function_stack(Function()),
    "dispatch": lambda: torch._C._push_on_torch_dispatch_stack(Dispatch()),
    "inference": lambda: torch._C._InferenceMode(True).__enter__(),
    "errors": lambda: np.seterr(all="raise"),
    "raise": lambda: {}["the function fails"],
}


@pytest.mark.pitfall(2)
@pytest.mark.case(45)
@pytest.mark.filterwarnings(
    "ignore:In CPU autocast|User provided device_type of 'cuda'|CUDA is not available:UserWarning"
)
@given(caller=modes, leaks=st.lists(st.sampled_from(sorted(set(LEAKS) - {"inference"}))))
def test_nothing_a_function_leaves_set_outlives_its_step(caller: list[str], leaks: list[str]) -> None:
    with entered(caller):
        state = TorchState(TYPES)

    def work() -> None:
        before = probe()
        try:
            with state.apply():
                for leak in leaks:
                    LEAKS[leak]()
        except KeyError:
            assert "raise" in leaks
        assert probe() == before

    in_thread(work)


@given(caller=modes.filter(lambda names: "cuda" not in names))
@pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")
def test_several_threads_may_be_inside_at_once(caller: list[str]) -> None:
    with entered(caller):
        state, expected = TorchState(TYPES), read_modes(TYPES)
    meeting = threading.Barrier(2)
    seen: list[bool] = []

    def work() -> None:
        with state.apply():
            meeting.wait(20)
            seen.append(read_modes(TYPES) == expected)
            meeting.wait(20)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [True, True]


@pytest.mark.pitfall(1)
def test_the_default_device_is_the_callers() -> None:
    torch.set_default_device("meta")
    try:
        state = TorchState(TYPES)
    finally:
        torch.set_default_device(None)

    def device() -> Any:
        with state.apply():
            return torch.empty(1).device.type, torch.get_default_device().type

    assert in_thread(device) == ("meta", "meta")
    assert in_thread(lambda: torch.empty(1).device.type) == "cpu"


def test_an_autocast_inside_leaves_the_weight_cache_of_the_callers_autocast() -> None:
    cleared: list[int] = []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        state = TorchState(TYPES)

        def work() -> None:
            with state.apply():
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    pass
                cleared.append(torch.autocast_decrement_nesting())
                torch.autocast_increment_nesting()

        in_thread(work)
    assert cleared == [0]


def test_a_running_transform_is_refused_in_another_thread_only() -> None:
    def function(x: Any) -> Any:
        state = TorchState(TYPES)
        with state.apply():
            pass
        with pytest.raises(ThreadStateError, match="vmap"):
            in_thread(lambda: state.apply())
        assert mode_depth()[2] == 1
        return x * 2

    assert torch.func.vmap(function)(torch.ones(3)).tolist() == [2, 2, 2]


def test_mode_depth_changes_with_every_mode_that_cannot_be_parked() -> None:
    base = mode_depth()
    for name in ("meta", "function", "dispatch"):
        with MODES[name]():
            assert mode_depth() != base
    for name in ("no_grad", "inference", "bfloat16"):
        with MODES[name]():
            assert mode_depth() == base
    assert TorchCpuBackend().mode_depth() == base


@given(wanted=modes.filter(lambda names: "inference" not in names and "cuda" not in names))
@pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")
def test_written_modes_read_back(wanted: list[str]) -> None:
    with entered(wanted):
        record = read_modes(TYPES)

    def work() -> None:
        write_modes(record, TYPES)
        assert read_modes(TYPES) == record

    in_thread(work)


@pytest.mark.pitfall(2)
def test_greenlets_may_enter_and_leave_in_any_order() -> None:
    greenlet = pytest.importorskip("greenlet", reason="the greenlet driver is an optional extra")
    base = TorchState(TYPES)
    before = probe()

    def ride(mode: str) -> None:
        with base.apply(), MODES[mode]():
            mine = read_modes(TYPES)
            with base.apply():
                greenlet.getcurrent().parent.switch()
            assert read_modes(TYPES) == mine

    rides = [greenlet.greenlet(ride) for _ in range(3)]
    for ride_, mode in zip(rides, ("inference", "no_grad", "bfloat16"), strict=True):
        ride_.switch(mode)
        assert probe() == before
    for ride_ in (rides[0], rides[2], rides[1]):
        ride_.switch()
        assert probe() == before
    assert all(ride_.dead for ride_ in rides)
