"""A run that was interrupted goes on where its journal says, for every kind of output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import microbatch
from microbatch.cli.app import main
from microbatch.errors import ArgumentValueError, OutputFileError
from microbatch.jobs.resuming import Resuming
from tests.support.command_line import SMALL_DISK, Ended, run, start
from tests.support.resuming import KINDS, believed, called, rows_in, write

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
ROWS = 1500
SOME = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=12)


class Stop(BaseException):
    """What ends a run in this process as a signal would."""


class Noting:
    """A function that notes its rows, and stops at one of them."""

    def __init__(self, result: Any, stop: int = -1) -> None:
        self.rows: list[int] = []
        self._result = result
        self._stop = stop

    def __call__(self, x: Any) -> Any:
        if self._stop in x[:, 0]:
            raise Stop
        self.rows += [int(row) for row in x[:, 0]]
        return self._result(x)


RESULTS: dict[str, Any] = {
    "y.npy": lambda x: x * 2,
    "y.npz": lambda x: {"a": x * 2, "b": x[:, 0].astype(np.int32), "c": np.float32(3)},
    "y.parquet": lambda x: {"a": x * 2, "t": [f"é {row[0]:g}" for row in x]},
    "y.jsonl": lambda x: [{"n": float(row[0])} if row[0] % 2 else None for row in x],
    "y.txt": lambda x: [f"é {row[0]:g}" for row in x],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an input, and the current one."""
    write(tmp_path, ROWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def ran(output: str, stop: int = -1, **more: Any) -> list[int]:
    """Rows that a run calls the function with."""
    noting = Noting(RESULTS[output], stop)
    options: dict[str, Any] = {"verify": "never", "resume": True} | more
    try:
        microbatch.run_file(noting, "x.npy", output, **options)
    except Stop:
        assert stop >= 0
    return noting.rows


def cut(data: bytes, at: int) -> bytes:
    """The end is lost."""
    return data[:at]


def changed(data: bytes, at: int) -> bytes:
    """A byte is another one."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def line_lost(data: bytes, at: int) -> bytes:
    """A line is taken out."""
    lines = data.splitlines(keepends=True)
    del lines[at % len(lines)]
    return b"".join(lines)


def line_twice(data: bytes, at: int) -> bytes:
    """A line stands there twice."""
    lines = data.splitlines(keepends=True)
    lines.insert(at % len(lines), lines[at % len(lines)])
    return b"".join(lines)


def rubbish(data: bytes, at: int) -> bytes:
    """Bytes of a disk that was full or lost power."""
    return data + bytes(at % 50) + b"rubbish"


@pytest.mark.parametrize("output", KINDS)
@SOME
@given(data=st.data())
def test_it_goes_on_from_what_is_stored(folder: Path, output: str, data: st.DataObject) -> None:
    """Rows of blocks that were stored are not run again, and the output is that of an undisturbed run."""
    for path in folder.glob("y.*"):
        path.unlink()
    ran(output, resume=False)
    expected = rows_in(folder / output)
    (folder / output).unlink()
    for stop in sorted(data.draw(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=3))):
        before = believed(folder, output)
        rows = ran(output, stop)
        assert not rows or min(rows) >= before
    before = believed(folder, output)
    rows = ran(output)
    assert sorted(rows) == list(range(before, ROWS))
    assert rows_in(folder / output) == expected
    assert not [*folder.glob("y.*part*")]


@pytest.mark.parametrize("output", KINDS)
@SOME
@given(
    stop=st.integers(40, ROWS - 1),
    damage=st.sampled_from([cut, changed, line_lost, line_twice, rubbish]),
    at=st.integers(0, 2000),
)
def test_a_damaged_journal_costs_rows_that_run_again(
    folder: Path, output: str, stop: int, damage: Any, at: int
) -> None:
    """Never wrong rows; it may say so."""
    for path in folder.glob("y.*"):
        path.unlink()
    ran(output, stop)
    journal = folder / f"{output}.part-kept.journal"
    data = journal.read_bytes()
    journal.write_bytes(damage(data, at % len(data)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        ran(output)
    microbatch.run_file(RESULTS[output], "x.npy", f"z{output[1:]}")
    assert rows_in(folder / output) == rows_in(folder / f"z{output[1:]}")


@pytest.mark.parametrize("output", KINDS)
def test_a_part_file_that_lost_its_end(folder: Path, output: str) -> None:
    """The rows that are still there are believed, with a warning."""
    ran(output, ROWS - 1)
    part = folder / f"{output}.part-kept"
    os.truncate(part, part.stat().st_size // 4)
    with pytest.warns(RuntimeWarning, match="says more than its part file has, so rows from"):
        ran(output)
    microbatch.run_file(RESULTS[output], "x.npy", f"z{output[1:]}")
    assert rows_in(folder / output) == rows_in(folder / f"z{output[1:]}")


def test_a_journal_damaged_at_its_head_begins_anew(folder: Path) -> None:
    """And says so."""
    ran("y.npy", 900)
    journal = folder / "y.npy.part-kept.journal"
    journal.write_bytes(b"00000000" + journal.read_bytes()[8:])
    with pytest.warns(RuntimeWarning, match="the journal of y.npy cannot be read, so the run begins anew"):
        assert sorted(ran("y.npy")) == list(range(ROWS))


@pytest.mark.parametrize("output", ["y.npy", "y.parquet"])
def test_a_run_that_ended_just_after_its_output_was_complete(
    folder: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs again; with another input, everything does."""

    def stop(self: Resuming) -> None:
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(Resuming, "done", stop)
        ran(output, stop=ROWS)
    assert (folder / output).exists() and (folder / f"{output}.part-kept.journal").exists()
    before = (folder / output).read_bytes()
    journal = (folder / f"{output}.part-kept.journal").read_bytes()
    assert ran(output) == []
    assert (folder / output).read_bytes() == before
    assert [path.name for path in folder.glob("y*")] == [output]
    (folder / f"{output}.part-kept.journal").write_bytes(journal)
    os.utime("x.npy", ns=(1, 1))
    assert sorted(ran(output)) == list(range(ROWS))
    assert [path.name for path in folder.glob("y*")] == [output]


def test_nothing_to_go_on_from_is_a_plain_run(folder: Path) -> None:
    """The first run, and one after a complete one."""
    for _ in range(2):
        assert sorted(ran("y.npy")) == list(range(ROWS))
        assert sorted(path.name for path in folder.glob("y*")) == ["y.npy"]


def test_a_run_that_stored_nothing_leaves_nothing(folder: Path) -> None:
    """Neither part nor journal."""
    assert ran("y.npy", 0) == []
    assert not [*folder.glob("y.*")]


def double(x: Any) -> Any:
    """A function of this file."""
    if Path("stop").exists() and len(x) > 40:
        raise Stop
    return x * 2


def test_what_differs_is_named(folder: Path) -> None:
    """The run is refused and the stored rows stay."""
    Path("stop").touch()
    with pytest.raises(Stop):
        microbatch.run_file(double, "x.npy", "y.npy", resume=True)
    Path("stop").unlink()
    before = believed(folder, "y.npy")
    assert before > 0

    def refused(text: str, **more: Any) -> None:
        given: dict[str, Any] = {"f": double, "input": "x.npy", "output": "y.npy", "resume": True} | more
        with pytest.raises(ArgumentValueError, match=f"y.npy was begun with another {text} .* then, .* now"):
            microbatch.run_file(**given)

    refused("treatment of errors", on_error="skip")
    refused("backend", backend="cpu")
    refused("target", f=Noting(RESULTS["y.npy"]))
    refused("arguments of the target", arguments={"size": "3"})
    os.utime("x.npy", ns=(1, 1))
    refused("input")
    assert believed(folder, "y.npy") == before


def test_how_rows_are_cut_may_differ(folder: Path) -> None:
    """A run that was killed for its memory goes on with less."""
    Path("stop").touch()
    with pytest.raises(Stop):
        microbatch.run_file(double, "x.npy", "y.npy", resume=True)
    Path("stop").unlink()
    summary = microbatch.run_file(double, "x.npy", "y.npy", resume=True, memory_limit="2GiB", num_ubatches=3)
    assert summary.rows == ROWS and summary.rows_resumed > 0
    np.testing.assert_array_equal(np.load("y.npy"), 2 * np.load("x.npy"))


def test_another_source_of_the_target(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A function that was edited would give other rows."""
    words = ["run", "steps.py:fails", "-i", "x.npy", "-o", "y.npy", "--resume", "--quiet"]
    (folder / "steps.py").write_text(
        "def fails(x):\n    if x[-1, 0] > 500:\n        raise ValueError\n    return x\n"
    )
    assert main(words) == 1
    assert "what is done of y.npy is kept, and the same command goes on from there" in capsys.readouterr().err
    (folder / "steps.py").write_text("def fails(x):\n    return x\n")
    assert main(words) == 2
    assert "y.npy was begun with another source of the target" in capsys.readouterr().err


def test_two_runs_of_one_output(folder: Path) -> None:
    """The second is refused, and takes nothing away."""

    def second(x: Any) -> Any:
        with pytest.raises(OutputFileError, match="y.npy is being written by another run"):
            microbatch.run_file(double, "x.npy", "y.npy", resume=True)
        return x

    microbatch.run_file(second, "x.npy", "y.npy", resume=True, schedule="sequential")
    np.testing.assert_array_equal(np.load("y.npy"), np.load("x.npy"))


def test_a_plain_run_that_succeeds_removes_what_was_kept(folder: Path) -> None:
    """Nothing is left that could be gone on from; one that fails leaves it."""
    ran("y.npz", 900)
    ran("y.npz", 900, resume=False)
    assert believed(folder, "y.npz") > 0
    ran("y.npz", resume=False)
    assert [path.name for path in folder.glob("y*")] == ["y.npz"]


def test_no_clobber(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there, or comes meanwhile, stays."""
    Path("y.npy").write_bytes(b"former")
    assert main(["run", "steps.py:doubled", "-i", "x.npy", "-o", "y.npy", "--no-clobber"]) == 2
    assert capsys.readouterr().err.startswith("error: y.npy is there already; leave --no-clobber out")

    def late(x: Any) -> Any:
        Path("z.npy").write_bytes(b"another's")
        return x

    with pytest.raises(OutputFileError, match="z.npy is there by now"):
        microbatch.run_file(late, "x.npy", "z.npy", no_clobber=True)
    assert Path("y.npy").read_bytes() == b"former" and Path("z.npy").read_bytes() == b"another's"
    microbatch.run_file(late, "x.npy", "w.npy", no_clobber=True)
    assert not [*folder.glob("*part*")]


class TestKills:
    """Real processes and real signals."""

    @pytest.mark.parametrize("output", KINDS)
    def test_kill_at_drawn_moments(self, folder: Path, output: str) -> None:
        """Once, and then to the end."""
        killed_and_resumed(folder, output, Random(output), kills=1)

    @pytest.mark.soak
    @pytest.mark.parametrize("output", KINDS)
    def test_fifty_kills(self, folder: Path, output: str) -> None:
        """Ten runs of five kills each, for each kind."""
        for seed in range(10):
            for path in [*folder.glob("y.*"), *folder.glob("calls.log")]:
                path.unlink()
            killed_and_resumed(folder, output, Random(f"{output} {seed}"), kills=5)

    def test_interrupt_says_that_it_goes_on(self, folder: Path) -> None:
        """Ctrl-C keeps what is stored."""
        with start(folder, *command("y.npy"), env=slow()) as started:
            wait_for_rows(started, folder, "y.npy", 1)
            started.send(signal.SIGINT)
            end = started.end()
        assert end.code == 130
        assert end.err.endswith("what is done of y.npy is kept, and the same command goes on from there\n")
        resumed(folder, "y.npy", believed(folder, "y.npy"))

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a file system of its own")
    def test_full_disk(self, tmp_path: Path) -> None:
        """What was stored before is there once there is space."""
        disk = tmp_path / "disk"
        disk.mkdir()
        before = SMALL_DISK.format(size=600_000, folder=str(disk))
        write(tmp_path, ROWS)
        script = f"""
import shutil
for name in ("steps.py", "x.npy"):
    shutil.copy({str(tmp_path)!r} + "/" + name, {str(disk)!r})
os.chdir({str(disk)!r})
from microbatch.cli.app import main as command
words = ["run", "steps.py:listed", "-i", "x.npy", "-o", "y.jsonl", "--resume", "--quiet"]
with open("filler", "wb") as file:
    file.write(bytes(530_000))
first = command(words)
kept = os.path.getsize("y.jsonl.part-kept")
os.unlink("filler")
again = command(words)
print(first, kept > 0, again, len(open("y.jsonl").readlines()), sorted(os.listdir(".")))
sys.exit(0)
"""
        end = run(tmp_path, "backends", before=before + script)
        if "no disk" in end.err:
            pytest.skip("needs the right to make a file system")
        assert end.out.splitlines()[-1].startswith(f"2 True 0 {ROWS} "), end
        assert "part" not in end.out.splitlines()[-1]


def command(output: str) -> list[str]:
    """One command line, again and again."""
    return ["run", f"steps.py:{KINDS[output]}", "-i", "x.npy", "-o", output, "--resume", "--quiet"]


def slow() -> dict[str, str]:
    """Rows that take long enough to be interrupted."""
    return {"SLEEP": "0.001"}


def wait_for_rows(started: Any, folder: Path, output: str, rows: int) -> None:
    """Wait until so many are stored, or the run has ended."""
    end = time.monotonic() + 60
    while believed(folder, output) < rows and started.process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def killed_and_resumed(folder: Path, output: str, draw: Random, *, kills: int) -> None:
    """SIGKILL a run so many times, each time after it has stored more, and then let it end."""
    for _ in range(kills):
        before = believed(folder, output)
        calls = len(called(folder))
        with start(folder, *command(output), env=slow()) as started:
            wait_for_rows(started, folder, output, before + 1)
            try:
                started.process.wait(draw.uniform(0.0, 0.5))
            except subprocess.TimeoutExpired:
                started.send(signal.SIGKILL)
            ended = started.end()
        assert not [row for row in called(folder)[calls:] if row < before]
        if ended.code == 0:
            break
    resumed(folder, output, believed(folder, output))


def resumed(folder: Path, output: str, before: int) -> None:
    """Let it run to its end, and compare."""
    there, calls = (folder / output).exists(), len(called(folder))
    end: Ended = run(folder, *command(output))
    assert end.code == 0, end.err
    if not there:  # else it was complete, or begins anew
        assert set(called(folder)[calls:]) == set(range(before, ROWS))
    assert not [*folder.glob("y.*part*")]
    plain = f"z{output[1:]}"
    assert main(["run", f"steps.py:{KINDS[output]}", "-i", "x.npy", "-o", plain, "--quiet"]) == 0
    assert rows_in(folder / output) == rows_in(folder / plain)
