"""Decorators: on functions and on all kinds of methods, with the names and the help of the function, and each
instance with steps of its own that go when it goes."""

from __future__ import annotations

import functools
import gc
import inspect
import pydoc
import typing
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import microbatch
from microbatch.errors import ArgumentTypeError, UnknownNameError
from tests.support.decorated import Scaler, Slotted, doubled, in_three

X = np.arange(40.0).reshape(20, 2)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only counts of references let things go."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_decorated_function_has_the_names_and_the_help_of_the_function() -> None:
    plain = doubled.unwrap()
    assert (doubled.__name__, doubled.__qualname__, doubled.__module__) == (
        "doubled",
        "doubled",
        plain.__module__,
    )
    assert doubled.__doc__ == "Twice as much."
    assert inspect.signature(doubled) == inspect.signature(plain)
    assert typing.get_type_hints(doubled) == typing.get_type_hints(plain)
    text = pydoc.plain(pydoc.render_doc(doubled))
    assert "doubled(x: 'Any', *, times: 'int' = 2)" in text
    assert "Twice as much." in text
    assert inspect.unwrap(doubled) is plain
    assert "Twice as much" in inspect.getsource(doubled)


def test_a_decorator_takes_options() -> None:
    np.testing.assert_array_equal(in_three(X), X + 1)
    assert in_three.microbatch.report.sizes == (7, 7, 6)
    assert in_three.microbatch.options.verify == "never"


def test_a_decorator_with_a_wrong_option_says_so() -> None:
    with pytest.raises(UnknownNameError, match="num_ubatches"):
        microbatch.wrap(num_ubatch=4)(np.copy)


def test_wraps_makes_a_plain_function_of_a_wrapper() -> None:
    @functools.wraps(doubled)
    def outer(x: Any) -> Any:
        return doubled(x)

    assert (outer.__name__, outer.__doc__, vars(outer)) == (
        "doubled",
        "Twice as much.",
        {"__wrapped__": doubled},
    )
    np.testing.assert_array_equal(outer(X), X * 2)
    wrapped = microbatch.wrap(outer)
    assert wrapped.__wrapped__ is outer
    assert inspect.signature(wrapped) == inspect.signature(doubled)


@pytest.mark.parametrize("kind", [Scaler, Slotted])
def test_each_instance_has_steps_of_its_own(kind: Any) -> None:
    first, second = kind(2.0), kind(3.0)
    np.testing.assert_array_equal(first.scaled(X), X * 2)
    np.testing.assert_array_equal(second.scaled(X), X * 3)
    np.testing.assert_array_equal(kind.scaled(first, X), X * 2)
    assert first.scaled.unwrap() == kind.scaled.unwrap().__get__(first)
    assert list(inspect.signature(first.scaled).parameters) == ["x"]


def test_what_an_instance_learned_is_there_at_the_next_access() -> None:
    first, second = Scaler(2.0), Scaler(2.0)
    first.scaled(X)
    assert first.scaled.microbatch.report.sizes == (5, 5, 5, 5)
    assert second.scaled.microbatch.report is None


def test_static_and_class_methods() -> None:
    instance = Scaler(1.0)
    for place in (Scaler, instance):
        np.testing.assert_array_equal(place.static_below(X), X + 1)
        np.testing.assert_array_equal(place.static_above(X), X + 1)
        np.testing.assert_array_equal(place.class_below(X), X + 5)
        np.testing.assert_array_equal(place.class_above(X), X + 5)
    assert list(inspect.signature(Scaler.class_below).parameters) == ["x"]


def test_an_instance_goes_when_its_last_reference_goes(no_collector: None) -> None:
    instance = Scaler(2.0)
    instance.scaled(X)
    bound = instance.scaled
    gone = weakref.ref(instance)
    del instance
    np.testing.assert_array_equal(bound(X), X * 2)  # as a bound method, it keeps its object
    del bound
    assert gone() is None
    assert not Scaler.scaled.microbatch.instances._kept


@pytest.mark.torch
def test_a_module_with_a_wrapped_method_goes_too(no_collector: None) -> None:
    """Its steps watch the module's mode, and must not keep it alive for that."""
    torch = pytest.importorskip("torch")

    class Encoder(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(4, 3)

        @microbatch.wrap(num_ubatches=3)
        def encode(self, x: Any) -> Any:
            return self.inner(x)

    encoder = Encoder().eval()
    with torch.no_grad():
        x = torch.randn(12, 4)
        torch.testing.assert_close(encoder.encode(x), encoder.inner(x))
    assert encoder.encode.microbatch.report.sizes == (4, 4, 4)
    gone = weakref.ref(encoder)
    del encoder
    assert gone() is None


def test_instances_that_are_equal_do_not_share() -> None:
    class Same(Scaler):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    first, second = Same(2.0), Same(3.0)
    np.testing.assert_array_equal(first.scaled(X), X * 2)
    np.testing.assert_array_equal(second.scaled(X), X * 3)


def test_a_callable_object_in_a_class_is_no_method() -> None:
    """As it would not be without the wrapper."""

    class Model:
        def __call__(self, x: Any) -> Any:
            return x + 1

    class Holder:
        model = microbatch.wrap(Model())
        function = microbatch.wrap(np.sqrt)

    np.testing.assert_array_equal(Holder().model(X), X + 1)
    np.testing.assert_array_equal(Holder().function(X), np.sqrt(X))


def test_a_class_is_still_refused() -> None:
    with pytest.raises(ArgumentTypeError, match="pass an instance"):
        microbatch.wrap(num_ubatches=2)(Scaler)
