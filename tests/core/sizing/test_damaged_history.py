"""Damaged, hostile histories: a step answers as without one, in time, and what is not ours stays as it is."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import microbatch
from microbatch.sizing.history_rows import check_header, rows_in
from tests.support.damaged_history import NAMED, Damage, applied, damages, everything_in

X = np.arange(4096 * 16, dtype=np.float64).reshape(4096, 16)
QUICKLY: dict[str, Any] = {"backend": "cpu", "thread_pool_size": 1, "verify": "never"}
PATIENCE = 10.0
"""Seconds for a run of 18 steps, which takes a few hundredths; against hangs only."""


def double(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return x * 2


def run(path: Path | None, steps: int = 18) -> list[str]:
    """A run that reads a history before its first step, and writes it at the sixteenth and at the end.

    That at `path`, or the configured one.
    """
    options = QUICKLY if path is None else {**QUICKLY, "history": str(path)}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        begun = time.monotonic()
        with microbatch.wrap(double, model="mine", **options) as wrapped:
            for _ in range(steps):
                np.testing.assert_array_equal(wrapped(X), X * 2)
        assert time.monotonic() - begun < PATIENCE
    assert all(warning.category is RuntimeWarning for warning in told)
    return [str(warning.message) for warning in told]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The history of a run."""
    path = tmp_path_factory.mktemp("whole") / "sizes.db"
    assert run(path) == run(path) == []
    return path


def check(damage: Damage, folder: Path, whole: Path) -> None:
    """Run with the damaged history, twice, as the first run may have written it."""
    path = folder / "home" / "sizes.db"
    with applied(damage, path, whole):
        before = everything_in(folder)
        for steps in (18, 2):
            told = run(path, steps)
            assert len(told) <= 1, told
            after = everything_in(folder)
            if after != before:
                _check_only_the_history_was_written(damage, before, after, path)
            else:
                assert told, "nothing was written, and nobody was told"


def _check_only_the_history_was_written(damage: Damage, before: Any, after: Any, path: Path) -> None:
    """It was ours before, and is a whole one now; nothing else has changed."""
    name = str(path.relative_to(path.parents[1]))
    content = before[name][-1]
    check_header(content)
    assert damage.still_ours or damage.kind in ("flips", "header", "end")
    assert set(before) == set(after)
    changed = {each for each in before if before[each] != after[each]}
    assert changed == {name, str(Path(name).parent)}
    assert before[name][0] == after[name][0], "its mode is another now"
    _read(path.read_bytes())


def _read(data: bytes) -> None:
    from microbatch.sizing.deadline import Deadline
    from microbatch.turns.runtime import ThreadRuntime

    assert rows_in(data, Deadline(30.0, ThreadRuntime()))


@pytest.mark.bad_input(65)
@pytest.mark.parametrize("damage", NAMED, ids=str)
def test_each_named_damage_costs_a_warning_and_nothing_else(
    damage: Damage, whole: Path, tmp_path: Path
) -> None:
    """Foreign databases, additions to ours, hostile states, and whatever else may be at the place."""
    check(damage, tmp_path, whole)


@pytest.mark.parametrize("name", ["data.db", ".git/index", "pipeline.py", "microbatch.toml"])
def test_a_file_that_was_found_cannot_have_another_file_of_its_folder_replaced(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cloned repository may name as its history whatever it likes."""
    monkeypatch.delenv("MICROBATCH_HISTORY", raising=False)
    monkeypatch.delenv("MICROBATCH_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".git").mkdir()
    (tmp_path / name).write_text("x = 1")
    (tmp_path / "microbatch.toml").write_text(f'history = "{name}"')
    before = everything_in(tmp_path)
    (told,) = run(None)
    assert "cannot be used (file is not a database)" in told
    assert everything_in(tmp_path) == before


@given(damage=damages())
def test_a_damaged_history_costs_a_warning_and_nothing_else(
    damage: Damage, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever was done to it."""
    check(damage, tmp_path_factory.mktemp("damaged"), whole)


@pytest.mark.soak
@settings(max_examples=1000)
@given(damage=damages())
def test_a_thousand_damaged_histories(
    damage: Damage, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same as above, for as long as it takes."""
    check(damage, tmp_path_factory.mktemp("damaged"), whole)
