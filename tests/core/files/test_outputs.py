"""Output files: whole under their name or not there, and what cannot be written is found before the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from microbatch.errors import OutputFileError
from microbatch.files.npy_sink import NpySink
from microbatch.files.npz_sink import NpzSink
from microbatch.files.protocols import Block, Piece
from microbatch.files.sinks import new_file
from microbatch.files.whole_file import refuse_input


def block(rows: int, result: Any = None) -> Block:
    """All rows at once."""
    return Block(start=0, rows=rows, pieces=[Piece(start=0, rows=rows, result=result)])


arrays = npst.arrays(
    st.sampled_from(["f4", "i8", "bool", "complex64", ">i2"]),
    npst.array_shapes(min_dims=1, min_side=0, max_side=4),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=arrays)
def test_what_is_written_is_read(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    """Rows written into the map are in the file under its name after `commit`, and no other file is left."""
    with new_file(tmp_path / "y.npy") as output:
        sink = NpySink(output)
        sink.out(0, len(array))(array.shape, array)[...] = array
        sink.store(block(len(array)))
        sink.finish(lambda: output).commit()
    read = np.load(tmp_path / "y.npy")
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    assert os.listdir(tmp_path) == ["y.npy"]


def test_archive(tmp_path: Path) -> None:
    """Several arrays by name, and plain numbers."""
    with new_file(tmp_path / "y.npz") as output:
        sink = NpzSink(output)
        sink.store(block(3, {"a": np.arange(3), "b": 2.5}))
        with new_file(tmp_path / "y.npz", made=True) as made:
            sink.finish(lambda: made).commit()
    with np.load(tmp_path / "y.npz") as read:
        assert read["a"].tolist() == [0, 1, 2]
        assert read["b"] == 2.5


@pytest.mark.parametrize("name", ["y.npy", "y.npz"])
def test_failure_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    """An error in the middle removes the part file and keeps the former result."""
    (tmp_path / name).write_bytes(b"former")

    def fail() -> None:
        with new_file(tmp_path / name) as output:
            assert len(os.listdir(tmp_path)) == 2
            if name == "y.npy":
                NpySink(output).out(0, 4)((4, 2), np.zeros(1))[:2] = 1
            else:
                NpzSink(output).store(block(4, {"a": np.zeros(4)}))
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail()
    assert (tmp_path / name).read_bytes() == b"former"
    assert os.listdir(tmp_path) == [name]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file a link points to is replaced, not the link."""
    (tmp_path / "real.npy").write_bytes(b"former")
    (tmp_path / "link.npy").symlink_to(tmp_path / "real.npy")
    with new_file(tmp_path / "link.npy") as output:
        sink = NpySink(output)
        sink.out(0, 2)((2,), np.zeros(1))[:] = 1
        sink.store(block(2))
        sink.finish(lambda: output).commit()
    assert (tmp_path / "link.npy").is_symlink()
    assert np.load(tmp_path / "real.npy").tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("y.nyp", "one of .npy, .npz"),
        ("y", "one of .npy"),
        ("folder.npy", "is a folder"),
        ("missing/y.npy", "folder of .* does not exist"),
        ("x.npy/y.npy", "folder of .* does not exist"),
        ("x.npy", "is the input file itself"),
        ("same.npy", "is the input file itself"),
    ],
)
def test_refused_before_the_work(tmp_path: Path, name: str, text: str) -> None:
    """And nothing is left or changed."""
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "x.npy").write_bytes(b"input")
    (tmp_path / "same.npy").symlink_to(tmp_path / "x.npy")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(OutputFileError, match=text):
        refuse_input(tmp_path / name, tmp_path / "x.npy")
        new_file(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == before
    assert (tmp_path / "x.npy").read_bytes() == b"input"


def test_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so the refusal is that of the system call."""

    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputFileError, match=r"y.npy cannot be written \(Permission denied\)"):
        new_file(tmp_path / "y.npy")


def test_space_is_asked_for_before_rows_are_written(tmp_path: Path) -> None:
    """A map without blocks behind it would end the process; more than any disk has is refused with the
    size."""
    with (
        new_file(tmp_path / "y.npy") as output,
        pytest.raises(OutputFileError, match=r"needs 1,125,899,906,842,624 bytes and cannot have them"),
    ):
        NpySink(output).out(0, 1 << 47)((1 << 47,), np.zeros(1))
    assert os.listdir(tmp_path) == []


def test_one_array_in_npy(tmp_path: Path) -> None:
    """A function with two outputs needs an archive."""
    with new_file(tmp_path / "y.npy") as output:
        allocate = NpySink(output).out(0, 2)
        allocate((2,), np.zeros(1))
        with pytest.raises(OutputFileError, match="use .npz"):
            allocate((2,), np.zeros(1))


@pytest.mark.parametrize("value", [{1}, [object(), 2]])
def test_only_numbers(tmp_path: Path, value: Any) -> None:
    """What would have to be pickled is refused by name."""
    with new_file(tmp_path / "y.npz") as output, pytest.raises(OutputFileError, match="mask"):
        NpzSink(output).store(block(2, {"mask": value}))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_dead_may_still_have_a_number(tmp_path: Path) -> None:
    """Where nobody has taken note of their end; in a container that may be for ever."""
    dead = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert dead.stdout is not None
    with dead.stdout:
        dead.stdout.read()  # until its end, without taking note of it
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    gone = tmp_path / f"y.npy.part-{dead.pid}"
    gone.write_bytes(b"")
    with new_file(tmp_path / "y.npy"):
        assert not gone.exists()
    dead.wait()


def test_part_files_of_the_dead_are_removed(tmp_path: Path) -> None:
    """Those of a process that ended go; those of one that lives, and other files, stay."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = tmp_path / f"y.npy.part-{dead.pid}"
    others = [
        tmp_path / f"y.npy.part-{os.getppid()}",
        tmp_path / "y.npy.part-x",
        tmp_path / f"z.npy.part-{dead.pid}",
    ]
    for path in [gone, *others]:
        path.write_bytes(b"")
    with new_file(tmp_path / "y.npy"):
        assert not gone.exists()
        assert all(path.exists() for path in others)
