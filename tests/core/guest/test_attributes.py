"""Names of a wrapper: the wrapped thing's first, ours under `microbatch`; what answers the wrapped thing
answers the wrapper."""

from __future__ import annotations

import inspect
import math
import pickle
import types
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch import UBatchWrapper
from tests.support.decorated import doubled


class Model:
    """A callable object with names that wrappers have too."""

    layout = "row major"

    def __init__(self) -> None:
        self.config = {"hidden_size": 4}
        self.mode = "train"

    def __call__(self, x: Any) -> Any:
        return x + 1

    def eval(self) -> Model:
        """Itself, in another mode."""
        self.mode = "eval"
        return self

    def name(self) -> str:
        """No object of its own."""
        return "model"


def test_the_wrapped_things_own_names_go_before_ours() -> None:
    model = Model()
    with microbatch.wrap(model, num_ubatches=2) as wrapped:
        wrapped(np.arange(4))
        assert wrapped.config == {"hidden_size": 4}
        assert wrapped.layout == "row major"
        assert wrapped.microbatch.options.num_ubatches == 2
        assert wrapped.microbatch.layout is None
        assert wrapped.microbatch.report is wrapped.last_report
        assert wrapped.microbatch.unwrap() is wrapped.unwrap() is wrapped.__wrapped__ is model


def test_ours_stay_where_the_wrapped_thing_has_none() -> None:
    with microbatch.wrap(np.copy, num_ubatches=2) as wrapped:
        assert wrapped.config is wrapped.microbatch.options
        assert wrapped.layout is None
        assert wrapped.last_report is None


def test_what_is_set_is_set_on_the_wrapped_thing() -> None:
    model = Model()
    wrapped = microbatch.wrap(model)
    wrapped.mode, wrapped.config = "half", {}
    assert (model.mode, model.config) == ("half", {})
    wrapped.extra = 1
    assert model.extra == 1  # type: ignore[attr-defined]
    del wrapped.extra
    assert not hasattr(model, "extra")
    with pytest.raises(AttributeError):
        del wrapped.extra
    assert vars(wrapped) == vars(model)


def test_a_builtin_takes_no_attributes_wrapped_or_not() -> None:
    with pytest.raises(AttributeError):
        microbatch.wrap(math.sqrt).extra = 1


def test_what_answers_the_wrapped_thing_answers_the_wrapper() -> None:
    wrapped = microbatch.wrap(Model())
    assert wrapped.eval() is wrapped
    assert wrapped.unwrap().mode == "eval"  # type: ignore[attr-defined]
    assert wrapped.name() == "model"
    method = wrapped.eval
    assert (method.__name__, method.__doc__, method.__self__) == (
        "eval",
        "Itself, in another mode.",
        wrapped.unwrap(),
    )
    assert method == wrapped.eval == wrapped.unwrap().eval  # type: ignore[attr-defined]
    assert len({method, wrapped.eval}) == 1
    assert inspect.signature(method) == inspect.signature(Model().eval)
    assert pickle.loads(pickle.dumps(method))().mode == "eval"


def test_a_wrapper_is_an_instance_of_what_it_wraps_is_one_of() -> None:
    wrapped = microbatch.wrap(Model())
    assert isinstance(wrapped, Model)
    assert isinstance(wrapped, UBatchWrapper)
    assert not isinstance(doubled, types.FunctionType)
    assert not isinstance(microbatch.wrap(np.sqrt), np.ufunc)


def test_dir_has_theirs_and_ours() -> None:
    names = dir(microbatch.wrap(Model()))
    assert {"eval", "mode", "microbatch", "compute_slices", "last_report", "unwrap"} <= set(names)
    assert not [name for name in names if name.startswith("_") and name not in dir(Model())]


def test_hash_and_equality_are_of_the_wrapper_itself() -> None:
    model = Model()
    first, second = microbatch.wrap(model), microbatch.wrap(model)
    assert len({first, second, first}) == 2
    assert first == first and first != second  # noqa: PLR0124


def test_a_class_that_extends_the_wrapper_keeps_its_own_names() -> None:
    class Counting(UBatchWrapper):
        calls = 0

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return super().__call__(*args, **kwargs)

    wrapped = Counting(Model())
    wrapped(np.arange(3))
    assert wrapped.calls == 1
    assert not hasattr(wrapped.unwrap(), "calls")


@pytest.mark.torch
class TestModules:
    """`torch.nn.Module`, wrapped and as part of others."""

    def made(self, **options: Any) -> Any:
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        return microbatch.wrap(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh()), **options)

    def test_methods_answer_the_wrapper(self) -> None:
        wrapped = self.made()
        for answer in (
            wrapped.eval(),
            wrapped.train(),
            wrapped.half(),
            wrapped.float(),
            wrapped.to("cpu"),
            wrapped.requires_grad_(False),
            wrapped.apply(lambda module: None),
        ):
            assert answer is wrapped
        wrapped.training = False
        assert wrapped.unwrap().training is False

    def test_a_wrapper_is_a_submodule(self) -> None:
        torch = pytest.importorskip("torch")

        class Parent(torch.nn.Module):  # type: ignore[misc, name-defined]
            def __init__(self, inner: Any) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, x: Any) -> Any:
                return self.inner(x) * 2

        inner = self.made(num_ubatches=3)
        parent = Parent(inner).eval()
        assert parent.inner is inner
        assert [name for name, _ in parent.named_parameters()] == ["inner.0.weight", "inner.0.bias"]
        assert sorted(parent.state_dict()) == ["inner.0.bias", "inner.0.weight"]
        parent.load_state_dict(parent.state_dict())
        assert not inner.unwrap().training
        assert parent.double().inner.unwrap()[0].weight.dtype == torch.float64
        x = torch.randn(9, 4, dtype=torch.float64)
        with torch.no_grad():
            torch.testing.assert_close(parent(x), inner.unwrap()(x) * 2)
        assert inner.microbatch.report.sizes == (3, 3, 3)
        assert list(torch.nn.Sequential(inner).parameters())
        assert "UBatchWrapper" in repr(parent)
