"""Whether anybody would notice if a part of the experiment were taken out.

Each behaviour below holds, and no longer holds with its part taken out: some functions would be cut that must
not be, others refused that may be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import microbatch
from microbatch import MicrobatchError
from microbatch.cutting.cut import cut
from microbatch.errors import UnprovenError
from microbatch.proof import experiment, sample, verdict
from microbatch.proof.sample import Sample

X = np.sort(np.random.default_rng(0).normal(size=(64, 3)), axis=0)
PARTS: dict[str, Any] = {"policy": "fixed", "num_ubatches": 4}
Patch = Callable[[pytest.MonkeyPatch], None]


def with_sample(change: Callable[..., Sample]) -> Patch:
    """Let experiments use what `change` makes of a sample."""
    whole = sample.sample_of

    def changed(batch: Any, positions: Any, backend: Any, **ways: Any) -> Sample:
        return change(whole(batch, positions, backend, **ways), batch, positions, backend)

    return lambda patch: patch.setattr(experiment, "sample_of", changed)


def in_the_same_order(patch: pytest.MonkeyPatch) -> None:
    """The witness has the rows in the order of the parts."""
    whole = experiment.units_of

    def units_of(found: Sample) -> Any:
        return [replace(unit, reverse=np.arange(unit.places.total)) for unit in whole(found)]

    patch.setattr(experiment, "units_of", units_of)
    with_sample(lambda found, batch, at, backend: replace(found, witness=batch.permuted(at, backend)))(patch)


def of_equal_size(patch: pytest.MonkeyPatch) -> None:
    def in_two(taken: Any, *, inside_requests: bool) -> Any:
        return cut(taken.shape, num_ubatches=2)

    patch.setattr(sample, "_in_two", in_two)


def without_copies(found: Sample, batch: Any, positions: Any, backend: Any) -> Sample:
    """The parts are the caller's own rows."""
    return replace(found, batch=batch)


def lists_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("microbatch.binding.infer.has_rows", lambda leaf: False)


def nothing_afterwards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verdict.Evidence, "contradiction", lambda self, result, device, given=False: "")


def refuses(function: Callable[..., Any], x: Any) -> None:
    with microbatch.wrap(function, **PARTS) as wrapped, pytest.raises(UnprovenError):
        wrapped(x)


def sorted_rows_that_are_sorted() -> None:
    """Only another order shows that the function moves rows."""
    refuses(lambda x: np.sort(x, axis=0), X)


def a_fact_of_the_size() -> None:
    """It looks like a constant where all calls have an even number of rows."""
    refuses(lambda x: {"y": x * 2, "even": len(x) % 2 == 0}, X)


def rows_that_are_written_once() -> None:
    def function(x: Any) -> Any:
        x += 1
        return x * 2

    x = X.copy()
    with microbatch.wrap(function, **PARTS) as wrapped:
        np.testing.assert_array_equal(wrapped(x), (X + 1) * 2)
    np.testing.assert_array_equal(x, X + 1)


def captions() -> None:
    """Each row has its own, and the function may be cut."""
    texts = [f"caption {number}" for number in range(64)]

    def function(x: Any, texts: list[str]) -> Any:
        return [f"{row[0]:.1f} {text}" for row, text in zip(x, texts, strict=False)]

    with microbatch.wrap(function, **PARTS) as wrapped:
        assert wrapped(X, texts) == function(X, texts)


def another_function_for_larger_parts() -> None:
    refuses(lambda x: x * 2 if len(x) < 14 else x - x.mean(0), X)


BEHAVIOURS: dict[str, tuple[Callable[[], None], Patch]] = {
    "no offset": (sorted_rows_that_are_sorted, in_the_same_order),
    "equal sizes": (a_fact_of_the_size, of_equal_size),
    "no copies": (rows_that_are_written_once, with_sample(without_copies)),
    "lists ignored": (captions, lists_ignored),
    "no comparison afterwards": (another_function_for_larger_parts, nothing_afterwards),
}


@pytest.mark.parametrize("taken_out", BEHAVIOURS)
def test_it_would_be_noticed(taken_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    behaviour, take_out = BEHAVIOURS[taken_out]
    behaviour()
    take_out(monkeypatch)
    with pytest.raises((AssertionError, MicrobatchError, pytest.fail.Exception)):
        behaviour()
