"""`--on-error skip`: exactly the rows that fail are left out, told with their errors, and the run goes on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import microbatch
from microbatch.cli.app import main
from microbatch.errors import ArgumentValueError

ROWS = 700
SOME = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an input, and the current one."""
    np.save(tmp_path / "x.npy", np.arange(ROWS, dtype=float))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


class Refusing:
    """Raises where one of these rows is among those it is called with."""

    def __init__(self, bad: frozenset[int], result: Any) -> None:
        self.calls = 0
        self._bad = bad
        self._result = result

    def __call__(self, x: Any) -> Any:
        self.calls += 1
        found = self._bad & {int(row) for row in x}
        if found:
            raise ValueError(f"row {min(found)} is bad: é")
        return self._result(x)


RESULTS: dict[str, tuple[Any, Any, Any]] = {
    "y.npy": (lambda x: x * 2, np.load, np.nan),
    "y.npz": (lambda x: {"a": (x * 2).astype(int)}, lambda path: np.load(path)["a"], 0),
    "y.jsonl": (
        lambda x: [2 * float(row) for row in x],
        lambda path: [json.loads(line) for line in path.read_text().splitlines()],
        None,
    ),
    "y.txt": (lambda x: [f"{2 * row:g}" for row in x], lambda path: path.read_text().split("\n")[:-1], ""),
}


@pytest.mark.parametrize("output", RESULTS)
@pytest.mark.parametrize("resume", [False, True])
@SOME
@given(bad=st.frozensets(st.integers(1, ROWS - 1), max_size=12))
def test_the_rows_that_fail(folder: Path, output: str, resume: bool, bad: frozenset[int]) -> None:
    """Each is told once, in order, and something stands in its row; all others are as they should be."""
    for path in folder.glob("y*"):
        path.unlink()
    result, read, nothing = RESULTS[output]
    function = Refusing(bad, result)
    summary = microbatch.run_file(
        function, "x.npy", output, on_error="skip", resume=resume, num_ubatches=1, verify="never"
    )
    errors = [json.loads(line) for line in (folder / f"{output}.errors.jsonl").read_text().splitlines()]
    assert [each["row"] for each in errors] == sorted(bad)
    assert all(each["error"] == "ValueError" for each in errors)
    assert [each["message"] for each in errors] == [f"row {row} is bad: é" for row in sorted(bad)]
    assert (summary.rows, summary.rows_failed) == (ROWS, len(bad))
    expected = result(np.arange(ROWS, dtype=float))
    expected = expected["a"] if output == "y.npz" else expected
    found = read(folder / output)
    kept = [row for row in range(ROWS) if row not in bad]
    assert [found[row] for row in kept] == [expected[row] for row in kept]
    assert all(str(found[row]) == str(nothing) for row in bad)
    assert function.calls < 10 + 22 * len(bad)
    assert not [*folder.glob("*part*")]


def test_nulls_in_parquet_beside_what_is_kept(folder: Path) -> None:
    """The columns of the input are there for the rows that failed too."""
    arrow: Any = pytest.importorskip("pyarrow", reason="needs pyarrow (extra data)")
    parquet: Any = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"id": [7, 8, 9], "x": [0.0, 1.0, 2.0]}), "x.parquet")
    function = Refusing(frozenset({1}), lambda x: {"y": x * 2})
    microbatch.run_file(
        function, "x.parquet", "y.parquet", columns=["x"], keep=["id"], on_error="skip", verify="never"
    )
    assert parquet.read_table("y.parquet").to_pydict() == {"id": [7, 8, 9], "y": [0.0, None, 4.0]}


def test_errors_go_on_where_the_run_does(folder: Path) -> None:
    """What an interrupted run had told is told once."""

    class Stopping(Refusing):
        def __call__(self, x: Any) -> Any:
            if stop in x:
                raise KeyboardInterrupt
            return super().__call__(x)

    bad = frozenset({5, 100, 400, 650})
    for stop in (500, -1):
        try:
            function = Stopping(bad, RESULTS["y.npy"][0])
            microbatch.run_file(function, "x.npy", "y.npy", on_error="skip", resume=True, verify="never")
        except KeyboardInterrupt:
            assert stop == 500
    lines = (folder / "y.npy.errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == sorted(bad)
    assert np.isnan(np.load("y.npy")).sum() == len(bad)
    assert sorted(path.name for path in folder.glob("y*")) == ["y.npy", "y.npy.errors.jsonl"]


def test_a_function_that_fails_for_all_rows_ends_the_run(folder: Path) -> None:
    """That is no matter of rows."""
    everything = frozenset(range(ROWS))
    with pytest.raises(
        ArgumentValueError, match="raised for each of the first 256 rows, .* ValueError: row 0"
    ):
        microbatch.run_file(Refusing(everything, None), "x.npy", "y.npy", on_error="skip", verify="never")
    assert not [*folder.glob("y*")]


def test_stop_is_the_default(folder: Path) -> None:
    """The function's own error, and nothing is written."""
    with pytest.raises(ValueError, match="row 3 is bad"):
        microbatch.run_file(Refusing(frozenset({3}), None), "x.npy", "y.npy")
    assert not [*folder.glob("y*")]
    with pytest.raises(ArgumentValueError, match="on_error is 'go on'; it must be stop or skip"):
        microbatch.run_file(lambda x: x, "x.npy", "y.npy", on_error="go on")  # type: ignore[arg-type]


def test_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last words name the file."""
    (folder / "steps.py").write_text(
        "def f(x):\n    if 300.0 in x:\n        raise ValueError('no')\n    return x\n"
    )
    assert main(["run", "steps.py:f", "-i", "x.npy", "-o", "y.npy", "--on-error", "skip", "--quiet"]) == 0
    assert "failed    1 rows, see y.npy.errors.jsonl" in capsys.readouterr().out
    assert json.loads(Path("y.npy.errors.jsonl").read_text())["row"] == 300
