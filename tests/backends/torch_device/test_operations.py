"""Yield points in code that torch compiles whole: the same turns, the same values, as often, in order."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

import microbatch
from microbatch import dbo
from microbatch.errors import BackendUnavailableError, ThreadStateError
from microbatch.loading.compiled import define_operations, operation_names
from microbatch.loading.plugins import Plugins
from microbatch.schedules import pingpong
from microbatch.turns.context import PLACE, UBatchContext
from microbatch.turns.runtime import ThreadRuntime
from microbatch.turns.workers import WorkerPool
from tests.support.taking_turns import make_step

torch = pytest.importorskip("torch")
effects = pytest.importorskip("torch._higher_order_ops.effects")

from microbatch_backends.torch_device.backend import TorchCpuBackend
from microbatch_backends.torch_device.state import mode_depth

pytestmark = [
    pytest.mark.torch,
    # torch's own, at the first import of its compiler inductor
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning"),
]
COMPILERS = ["eager", "aot_eager", "inductor"]
ONES_THAT_TAKE_TURNS = {
    "dbo_maybe_run_recv_hook", "dbo_switch_to_comm", "dbo_switch_to_comm_sync", "dbo_switch_to_compute",
    "dbo_switch_to_compute_sync", "dbo_yield", "dbo_yield_and_switch_from_comm_to_compute",
    "dbo_yield_and_switch_from_compute_to_comm",
}  # fmt: skip
LOG: list[tuple[int, str]] = []
"""What the test's own operation noted: the ubatch, and the words it was given."""


@pytest.fixture(params=["threads", "greenlets"])
def driver(request: pytest.FixtureRequest) -> str:
    if request.param == "greenlets":
        pytest.importorskip("greenlet", reason="the greenlet driver needs the greenlet package")
    return str(request.param)


@pytest.fixture(params=COMPILERS)
def compiled(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], Any]]:
    """`torch.compile` with `fullgraph=True`."""
    torch._dynamo.reset()
    with one_process(request.param):
        yield lambda function: torch.compile(function, backend=request.param, fullgraph=True)
    torch._dynamo.reset()


def one_process(compiler: str) -> Any:
    """Inductor else leaves processes behind that compile."""
    if compiler != "inductor":
        return nullcontext()
    from torch._inductor import config

    return config.patch(compile_threads=1)


@pytest.fixture(scope="module")
def note() -> Iterator[Callable[[Any, str], Any]]:
    """An operation with an effect, as communication is: it notes where it ran and returns a copy."""
    library = torch.library.Library("microbatch_tests", "FRAGMENT")
    library.define("note(Tensor x, str words) -> Tensor")

    def noted(x: Any, words: str) -> Any:
        LOG.append((dbo.dbo_current_ubatch_id(), words))
        return x.clone()

    library.impl("note", noted, "CompositeExplicitAutograd")
    torch.library.register_fake("microbatch_tests::note", lambda x, words: torch.empty_like(x), lib=library)
    effects._register_effectful_op(torch.ops.microbatch_tests.note.default, effects._EffectType.ORDERED)
    yield torch.ops.microbatch_tests.note
    library._destroy()


def layers(note: Any) -> Callable[[Any, Any], Any]:
    """A model with each yield point in it, twice over; its values do not tell whether anybody yielded."""

    def model(x: Any, weight: Any) -> Any:
        for layer in range(2):
            x = torch.relu(x @ weight)
            x = note(x, f"compute {layer}")
            dbo.dbo_yield_and_switch_from_compute_to_comm(f"dispatch {layer}")
            x = note(torch.sin(x), f"dispatch {layer}")
            dbo.dbo_yield_and_switch_from_comm_to_compute(label=f"combine {layer}")
            dbo.dbo_switch_to_comm()
            dbo.dbo_switch_to_compute()
            dbo.dbo_switch_to_comm_sync()
            dbo.dbo_switch_to_compute_sync()
            dbo.dbo_maybe_run_recv_hook()
            x = note(x + 1, f"combine {layer}")
            dbo.dbo_yield()
        return x

    return model


def run_turns(function: Callable[[Any], Any], x: Any, driver: str) -> tuple[Any, list[tuple[int, str]]]:
    """What a step of three ubatches gives, and what they noted."""
    LOG.clear()
    with microbatch.wrap(
        function, num_ubatches=3, policy="fixed", schedule="pingpong", driver=driver, verify="never",
        strict_yields=True, barrier_timeout=300.0,
    ) as wrapped:  # fmt: skip
        return wrapped(x), list(LOG)


def test_each_yield_point_that_takes_turns_is_an_operation() -> None:
    assert set(operation_names(dbo)) == ONES_THAT_TAKE_TURNS
    define_operations()
    for name in ONES_THAT_TAKE_TURNS:
        schema = getattr(torch.ops.microbatch, name).default._schema
        assert [argument.name for argument in schema.arguments] == ["label"] * name.startswith("dbo_yield")


def test_compiled_ubatches_take_the_same_turns(compiled: Any, note: Any, driver: str) -> None:
    model = layers(note)
    torch.manual_seed(0)
    x, weight = torch.randn(9, 8), torch.randn(8, 8)
    eager, turns = run_turns(lambda x: model(x, weight), x, driver)
    made = compiled(model)
    with torch.no_grad():
        first, first_turns = run_turns(lambda x: made(x, weight), x, driver)
        again, again_turns = run_turns(lambda x: made(x, weight), x, driver)
    assert len(turns) == 3 * 6
    assert first_turns == turns
    assert again_turns == turns
    torch.testing.assert_close(first, eager)
    torch.testing.assert_close(again, eager)


def test_a_forward_pass_that_records_yields_once_and_a_backward_pass_never(
    compiled: Any, driver: str
) -> None:
    def model(x: Any) -> Any:
        y = torch.sin(x)
        dbo.dbo_yield("between")
        return torch.cos(y)

    x, made, yields = torch.ones(6, requires_grad=True), compiled(model), list[int]()

    def counting(x: Any) -> Any:
        y = made(x)
        yields.append(PLACE.get().seat.ring.yields[dbo.dbo_current_ubatch_id()])
        return y

    with microbatch.wrap(
        counting, num_ubatches=2, policy="fixed", schedule="pingpong", driver=driver, verify="never",
        barrier_timeout=300.0,
    ) as wrapped:  # fmt: skip
        y = wrapped(x)
        y.sum().backward()
    assert yields == [1, 1]
    torch.testing.assert_close(x.grad, (-torch.sin(torch.sin(x)) * torch.cos(x)).detach())


def test_a_compiled_model_outside_a_step_and_then_inside(compiled: Any, note: Any, driver: str) -> None:
    """Engines warm up with plain calls; what was compiled then yields later all the same."""
    made, x = compiled(layers(note)), torch.randn(9, 8)
    weight = torch.randn(8, 8)
    with torch.no_grad():
        for rows in (3, 9):
            made(x[:rows], weight)
        _, turns = run_turns(lambda x: made(x, weight), x, driver)
    assert turns[:3] == [(0, "compute 0"), (1, "compute 0"), (2, "compute 0")]
    assert len(turns) == 3 * 6


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_unwinds_siblings_that_are_parked_in_compiled_code(
    compiled: Any, driver: str, error: type[BaseException]
) -> None:
    raised, unwound = error("failed"), []

    def model(x: Any) -> Any:
        for _ in range(3):
            x = torch.sin(x)
            dbo.dbo_yield()
        return x

    made = compiled(model)
    made(torch.ones(1))

    def compute(context: UBatchContext, part: Any) -> Any:
        if context.ubatch_id == 2:
            dbo.dbo_yield()
            raise raised
        try:
            return made(torch.ones(1))
        finally:
            unwound.append(context.ubatch_id)

    pool = WorkerPool(ThreadRuntime())
    try:
        with pytest.raises(error) as caught:
            pingpong.run(
                make_step(
                    ThreadRuntime(), pool, 3, compute, driver=driver, barrier_timeout=300.0,
                    backend=TorchCpuBackend(),
                )
            )  # fmt: skip
        assert caught.value is raised
        assert sorted(unwound) == [0, 1]
        assert made(torch.ones(1)).shape == (1,)
    finally:
        pool.shutdown()


def test_switching_streams_in_compiled_code_is_refused(compiled: Any, driver: str) -> None:
    """Kernels of inductor stay on the stream on which the compiled code began; a yield is fine."""

    class Stream:
        def __init__(self, purpose: str) -> None:
            self.purpose = purpose

        def wait(self, event: Any) -> None:
            pass

        @contextmanager
        def activate(self) -> Iterator[None]:
            yield

    class Event:
        def record(self, stream: Any) -> None:
            pass

    class Device:
        name, asynchronous = "streams", True

        def stream(self, purpose: str) -> Any:
            return streams[purpose]

        def current_stream(self) -> Any:
            return streams["caller"]

        def event(self) -> Any:
            return Event()

        def thread_state(self) -> Any:
            return TorchCpuBackend().thread_state()

        def mode_depth(self) -> Any:
            return mode_depth()

    streams = {purpose: Stream(purpose) for purpose in ("caller", "compute", "communication")}
    passed: list[int] = []

    def yielding(x: Any) -> Any:
        dbo.dbo_yield()
        return x + 1

    def switching(x: Any) -> Any:
        dbo.dbo_yield_and_switch_from_compute_to_comm()
        return x + 1

    first, second = compiled(yielding), compiled(switching)

    def compute(context: UBatchContext, part: Any) -> None:
        first(torch.ones(1))
        passed.append(context.ubatch_id)
        second(torch.ones(1))

    pool = WorkerPool(ThreadRuntime())
    try:
        with pytest.raises(ThreadStateError, match="outside of what is compiled"):
            pingpong.run(make_step(ThreadRuntime(), pool, 2, compute, driver=driver, backend=Device()))
        assert passed[:1] == [0]
    finally:
        pool.shutdown()


def test_what_a_graph_cannot_hold_is_refused_and_never_guessed(compiled: Any) -> None:
    def model(x: Any) -> Any:
        return x + dbo.dbo_current_ubatch_id()

    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(model)(torch.ones(1))


def test_torch_may_be_imported_after_the_yield_points() -> None:
    """In an order of imports sorted by name it always is; no backend has been asked for either."""
    program = """
from microbatch.dbo import dbo_yield
import sys
assert "torch" not in sys.modules
import torch

def model(x):
    dbo_yield("here")
    return x + 1

assert torch.compile(model, backend="eager", fullgraph=True)(torch.ones(1)).item() == 2
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_without_the_backends_the_remedy_is_named() -> None:
    with pytest.raises(BackendUnavailableError, match="install microbatch with its backends"):
        Plugins(entry_points=()).define_operations("torch")
