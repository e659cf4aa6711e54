"""What a library raises within a step reaches the table: whatever its class, and nothing else is run again.

The errors have the names, modules and bases of the libraries' own, since most of these cannot be installed
here. Of each class one text is enough: that each text is told right is shown beside.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

import microbatch
from microbatch.errors import StepOutOfMemoryError
from microbatch.step.recovery import SUSPECTS
from tests.backends.failures.real_text import DEAD, OOM, OTHER, SIZE, SUSPECT, RealText
from tests.backends.failures.real_texts import TEXTS

pytestmark = pytest.mark.counted

ROWS = 16
Rows = NDArray[np.int64]


class Session:
    """A function of a library that fails with one error above a number of rows, and counts what it did."""

    def __init__(self, made: Callable[[], Exception], most: int) -> None:
        self.made = made
        self.most = most
        self.failed: list[int] = []
        self.finished: list[int] = []

    def __call__(self, x: Rows) -> Rows:
        if len(x) > self.most:
            self.failed.append(len(x))
            raise self.made()
        self.finished.extend(x.tolist())
        return x * 2


def always(error: Exception) -> Callable[[], Exception]:
    """The same object each time."""
    return lambda: error


def run(session: Session) -> Rows:
    """The outputs for all rows, in one part to begin with."""
    with microbatch.wrap(session, num_ubatches=1) as wrapped:
        outputs: Rows = wrapped(np.arange(ROWS))
    return outputs


def of(kind: object, where: str = "") -> list[RealText]:
    """One text with this meaning for each class whose name has `where` in it."""
    return list({real.raised: real for real in TEXTS if real.kind is kind and where in real.raised}.values())


@pytest.mark.parametrize("library", ["onnxruntime", "cv2", "tensorflow"])
def test_an_exception_that_is_no_runtime_error_is_run_again_in_smaller_parts(library: str) -> None:
    """The errors of these libraries derive from Exception alone."""
    real = of(OOM, library)[0]
    assert not isinstance(real.made(), (RuntimeError, MemoryError, OSError))
    session = Session(real.made, most=5)
    np.testing.assert_array_equal(run(session), np.arange(ROWS) * 2)
    assert (session.failed, sorted(session.finished)) == ([16, 8], list(range(ROWS)))


@pytest.mark.parametrize("kind", [OOM, SIZE])
def test_memory_and_size_are_run_again(kind: object) -> None:
    """All rows come out, each computed once."""
    for real in of(kind):
        session = Session(real.made, most=8)
        np.testing.assert_array_equal(run(session), np.arange(ROWS) * 2)
        assert (session.failed, sorted(session.finished)) == ([16], list(range(ROWS))), real


@pytest.mark.parametrize("kind", [OTHER, DEAD])
def test_what_is_not_memory_reaches_the_caller_as_it_is(kind: object) -> None:
    """It is raised after one call, the same object."""
    for real in of(kind):
        error = real.made()
        session = Session(always(error), most=8)
        with pytest.raises(type(error)) as caught:
            run(session)
        assert (caught.value is error, session.failed) == (True, [16]), real


def test_what_may_be_memory_is_run_again_a_few_times() -> None:
    """After that it is raised as it is, since smaller parts do not help."""
    for real in of(SUSPECT):
        error = real.made()
        session = Session(always(error), most=0)
        with pytest.raises(type(error)) as caught:
            run(session)
        assert (caught.value is error, len(session.failed)) == (True, SUSPECTS + 1), real


def test_memory_for_not_even_one_row_names_the_librarys_error() -> None:
    """The caller is told that one row does not fit, with the library's error as the cause."""
    (real, *_) = of(OOM, "onnxruntime")
    with pytest.raises(StepOutOfMemoryError) as caught:
        run(Session(real.made, most=0))
    cause = caught.value.__cause__
    assert type(cause).__name__ == type(real.made()).__name__
    assert str(cause) == real.text
