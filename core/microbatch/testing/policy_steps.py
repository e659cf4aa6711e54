"""What real steps must be like whatever the policy answers: every row once, an end, errors at once.

These are the runner's promises, shown with the policy under test at the place where it is asked: a policy
that breaks one shows a defect of core, or answers what no proposal may be.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import microbatch
from microbatch.errors import StepOutOfMemoryError
from microbatch.extend.protocols import SizingPolicy
from microbatch.testing.given_plugins import GivenPolicy
from microbatch.testing.properties import PropertySuite, prop

EXAMPLES = 10
"""Drawn cases of each check: a wrapper and its steps take 2 ms, and 30 ms where garbage is collected."""


ERRORS = (ValueError, RuntimeError, KeyboardInterrupt, SystemExit)
"""What a step raises at once."""


class PolicySteps(PropertySuite):
    """The checks of `PolicySuite` that run steps, on NumPy arrays in the caller's thread."""

    def make(self) -> SizingPolicy:
        """A fresh policy; called several times per test."""
        raise AssertionError(f"{type(self).__name__} must define make() -> SizingPolicy")

    @prop(examples=EXAMPLES, rows=st.lists(st.integers(0, 300), min_size=1, max_size=4))
    def check_every_row_once_and_in_order(self, rows: list[int]) -> None:
        """Steps of any sizes give the rows of the plain call, each computed once."""
        seen: list[int] = []

        def double(x: Any) -> Any:
            seen.extend(x.tolist())
            return x * 2

        with self._wrapped(double) as wrapped:
            for count in rows:
                seen.clear()
                np.testing.assert_array_equal(wrapped(np.arange(count)), np.arange(count) * 2)
                assert seen == list(range(count))

    @prop(examples=EXAMPLES, rows=st.integers(1, 300), fits=st.integers(0, 300), steps=st.integers(1, 2))
    def check_ends_whatever_fits(self, rows: int, fits: int, steps: int) -> None:
        """Where more than `fits` rows run out of memory, a step ends after halving, having repeated nothing
        that was finished; where not even one fits, with the original error as its cause."""
        device = _Device(fits)
        with self._wrapped(device) as wrapped:
            for _ in range(steps):
                device.finished, device.failed = [], []
                if fits:
                    np.testing.assert_array_equal(wrapped(np.arange(rows)), np.arange(rows) * 2)
                    assert sorted(device.finished) == list(range(rows))
                else:
                    with pytest.raises(StepOutOfMemoryError) as caught:
                        wrapped(np.arange(rows))
                    assert isinstance(caught.value.__cause__, MemoryError)
                assert len(device.failed) <= rows.bit_length() + 2

    @prop(examples=EXAMPLES, rows=st.integers(1, 100), kind=st.sampled_from(ERRORS))
    def check_other_errors_are_never_retried(self, rows: int, kind: type[BaseException]) -> None:
        """An error that is not of memory, and an interrupt, reach the caller from the first call."""
        calls: list[int] = []

        def broken(x: Any) -> Any:
            calls.append(len(x))
            raise kind("broken")

        with self._wrapped(broken) as wrapped, pytest.raises(kind):
            wrapped(np.arange(rows))
        assert len(calls) == 1

    @prop(examples=EXAMPLES, rows=st.integers(2, 60), fits=st.integers(1, 20), chained=st.booleans())
    def check_nothing_of_a_failed_attempt_is_alive(self, rows: int, fits: int, chained: bool) -> None:
        """When the next attempt starts, no array of one that failed is referenced, nor by a chained cause."""
        alive: list[weakref.ref[Any]] = []
        seen: list[int] = []

        def hungry(x: Any) -> Any:
            seen.append(sum(reference() is not None for reference in alive))
            made = _Array()
            if len(x) > fits:
                alive.append(weakref.ref(made))
                _run_out(made, chained)
            return x

        with self._wrapped(hungry) as wrapped:
            np.testing.assert_array_equal(wrapped(np.arange(rows)), np.arange(rows))
        assert set(seen) == {0}

    def _wrapped(self, function: Callable[..., Any]) -> Any:
        """A wrapper that makes no trial calls, as the functions count their calls and rows."""
        return microbatch.wrap(
            function,
            policy="given",
            plugins=GivenPolicy(self.make()),
            backend="cpu",
            schedule="sequential",
            verify="never",
        )


class _Array:
    """Stands for memory of an attempt."""


class _Device:
    """A function whose calls fail above a number of rows, and that counts."""

    def __init__(self, fits: int) -> None:
        self.fits = fits
        self.finished: list[int] = []
        self.failed: list[int] = []

    def __call__(self, x: Any) -> Any:
        if len(x) > self.fits:
            self.failed.append(len(x))
            raise MemoryError("device memory ran out")
        self.finished.extend(x.tolist())
        return x * 2


def _run_out(made: _Array, chained: bool) -> None:
    if not chained:
        raise MemoryError("out of memory")
    try:
        raise MemoryError("inner")
    except MemoryError as error:
        raise MemoryError("outer") from error
