"""The suites have teeth: a backend that breaks a promise fails the check of that promise."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import strategies as st

from microbatch.errors import ArgumentTypeError
from microbatch.testing import AdversarialBackend, BackendSuite, PropertySuite, prop
from microbatch.testing.simulated.streams import SimulatedStream


class ForgetsWaits(AdversarialBackend):
    def __init__(self) -> None:
        super().__init__()
        self.device.wait = lambda stream, event: None  # type: ignore[method-assign]


class CopiesTooMuch(AdversarialBackend):
    def copy(self, destination: Any, source: Any) -> None:
        whole = destination.viewed(destination.block.data[: destination.nbytes].view(destination.dtype))
        super().copy(
            whole if destination.size else destination, whole * 0 + 5 if destination.size else source
        )


class TakesViews(AdversarialBackend):
    def take(self, array: Any, indices: Any, axis: int) -> Any:
        return array[: len(indices)] if axis == 0 else array[:, : len(indices)]


class OwnsEverything(AdversarialBackend):
    def owns(self, array: object) -> bool:
        return True


class ForgetsItsPurpose(AdversarialBackend):
    def stream(self, purpose: Any) -> Any:
        return SimulatedStream(self.device, 1, "compute")


class RetriesEverything(AdversarialBackend):
    def classify(self, error: BaseException) -> Any:
        return super().classify(MemoryError())


class KeepsVariables(AdversarialBackend):
    def thread_state(self) -> Any:
        state = super().thread_state()
        state._variables = []
        return state


class ReadsTooMuch(AdversarialBackend):
    def memory(self) -> Any:
        reading = super().memory()
        object.__setattr__(reading, "usable", reading.capacity + 1)
        return reading


BROKEN = [
    (ForgetsWaits, "events_order_work_of_different_streams"),
    (CopiesTooMuch, "copy_writes_a_slice_and_nothing_else"),
    (TakesViews, "take_is_numpys"),
    (OwnsEverything, "it_owns_its_arrays_and_nothing_else"),
    (ForgetsItsPurpose, "the_stream_of_a_purpose_is_always_the_same"),
    (RetriesEverything, "failures_are_told_apart"),
    (KeepsVariables, "thread_state_is_carried_and_put_back"),
    (ReadsTooMuch, "a_memory_reading_can_be_true"),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_promise_fails_its_check(broken: Any, check: str) -> None:
    class Suite(BackendSuite):
        def make_backend(self) -> Any:
            return broken()

        def make_array(self, backend: Any, values: np.ndarray) -> Any:
            array = backend.array(values)
            backend.device.finish_all()
            return array

        def to_numpy(self, array: Any) -> np.ndarray:
            return array.view

    with pytest.raises((AssertionError, ValueError, BaseExceptionGroup)):
        getattr(Suite(), f"test_{check}")()


class Numbers(PropertySuite):
    top = 3

    @prop(number=st.integers(0, 100))
    def check_small(self, number: int) -> None:
        """Numbers are small."""
        assert number <= self.top

    def check_plain(self) -> None:
        assert self.top


def test_each_subclass_has_tests_of_its_own() -> None:
    class Large(Numbers):
        top = 100

    class Larger(Large):
        top = 1000

        def test_plain(self) -> None:
            raise KeyError("written by hand")

    class Largest(Larger):
        pass

    Large().test_small()  # type: ignore[attr-defined]
    Larger().test_small()  # type: ignore[attr-defined]
    assert Large.test_small.__qualname__.endswith("Large.test_small")  # type: ignore[attr-defined]
    assert Large.test_small.__doc__ == "Numbers are small."  # type: ignore[attr-defined]
    with pytest.raises(KeyError):
        Largest().test_plain()
    with pytest.raises(AssertionError):
        Numbers().test_small()  # type: ignore[attr-defined]


def test_exceptions_carry_reasons_and_must_exist() -> None:
    class Excused(Numbers):
        not_promised: ClassVar = {"plain": "not here"}
        expected_failures: ClassVar = {"small": "they are not"}

    marks = {name: getattr(Excused, name).pytestmark[0] for name in ("test_plain", "test_small")}
    assert marks["test_plain"].name == "skip"
    assert marks["test_small"].kwargs == {"strict": True, "reason": "they are not"}
    with pytest.raises(ArgumentTypeError, match="did you mean 'plain'"):
        type("Wrong", (Numbers,), {"expected_failures": {"plan": "x"}})


def test_importing_the_package_imports_neither_pytest_nor_hypothesis() -> None:
    code = (
        "import sys, microbatch.testing as t; t.RecordingBackend, t.AdversarialBackend, t.Sequencer\n"
        "assert not {'pytest', 'hypothesis', 'torch'} & set(sys.modules), sys.modules.keys()\n"
        "assert set(t.__all__) <= set(dir(t))\n"
        "for name in t.__all__: getattr(t, name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
