"""Functions that are compiled anew for each size are told by what they are, and get few sizes unasked."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.guest.compiled import is_compiled


def few(function: Any, **options: Any) -> bool:
    with microbatch.wrap(function, **options) as wrapped:
        return wrapped._engine.planner._few is not None


def test_plain_functions_may_have_any_size() -> None:
    assert not few(np.negative)
    assert not few(lambda x: x + 1)
    assert few(np.negative, shapes="few")


class PjitFunction:
    """As `jax.jit` makes them."""

    __module__ = "jaxlib.xla_extension"

    def __call__(self, x: Any) -> Any:
        return x + 1


def test_what_jax_compiles() -> None:
    jitted = PjitFunction()
    assert is_compiled(jitted)
    assert is_compiled(functools.partial(jitted))
    assert is_compiled(lambda x: jitted(x))


@pytest.mark.torch
class TestTorch:
    """Real functions of `torch.compile`, with a backend that counts instead of compiling."""

    def test_what_torch_compiles(self) -> None:
        torch = pytest.importorskip("torch")
        linear = torch.nn.Linear(2, 2)
        compiled = torch.compile(linear, backend="eager")

        def calling(x: Any) -> Any:
            return compiled(x)

        assert is_compiled(torch.compile(lambda x: x + 1, backend="eager"))
        assert is_compiled(compiled)
        assert is_compiled(torch.nn.Sequential(compiled))
        assert is_compiled(calling)
        assert not is_compiled(linear)
        linear.compile(backend="eager")
        assert is_compiled(linear)
        assert few(linear)
        assert not few(linear, shapes="any")

    def test_the_policys_trials_stay_below_the_recompile_limit(self) -> None:
        torch = pytest.importorskip("torch")
        from torch._dynamo.testing import CompileCounter
        from torch._dynamo.utils import counters

        torch._dynamo.reset()
        counters.clear()
        counter = CompileCounter()
        compiled = torch.compile(lambda x: x.sin() + x.cos(), backend=counter, dynamic=False)
        x = torch.randn(3000, 32)
        with microbatch.wrap(compiled, schedule="sequential") as wrapped, torch.no_grad():
            for limit in (100, 700, 200, 1500, 400, 50, 900, 300):
                wrapped._engine.planner.policy = Asks(limit)
                torch.testing.assert_close(wrapped(x), x.sin() + x.cos())
                assert wrapped.last_report.split
        assert counter.frame_count <= 8
        assert not [key for key in counters["unimplemented"] if "recompile" in str(key)]
        torch._dynamo.reset()


class Asks:
    """A policy that asks for one size."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def propose(self, request: Any) -> microbatch.Proposal:
        """That size."""
        return microbatch.Proposal(limit=self.limit)

    def observe(self, report: Any) -> None:
        """Nothing."""
