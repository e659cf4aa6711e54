"""A file is whole under its name or as it was, whoever else is at work in the folder."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from microbatch.errors import OutputFileError
from microbatch.files.whole_file import WholeFile

posix = pytest.mark.skipif(sys.platform == "win32", reason="files as POSIX has them")


def made(path: Path) -> WholeFile:
    """A file in the making, of a kind that may be written."""
    return WholeFile(path, (".txt",))


def test_it_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    """And its identity says so."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"former")
    with made(path) as file:
        assert path.read_bytes() == b"former"
        file.write(b"new")
        assert file.size == 3
    found = path.stat()
    assert path.read_bytes() == b"new"
    assert (found.st_dev, found.st_ino) == file.identity
    assert os.listdir(tmp_path) == ["a.txt"]


@posix
def test_a_link_in_the_place_of_the_part_file_is_not_followed(tmp_path: Path) -> None:
    """In a folder for all, the name of the part file can be guessed."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / f"a.txt.part-{os.getpid()}").symlink_to(victim)
    with made(tmp_path / "a.txt") as file:
        file.write(b"new")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "a.txt").is_symlink()


@posix
def test_a_file_system_without_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not have cannot be kept, and is no reason to refuse."""

    def refuse(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "a.txt"
    path.write_bytes(b"former")
    path.chmod(0o640)
    monkeypatch.setattr(os, "fchown", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    with made(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_takes_the_name_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """It was checked when the file was opened, and is once more at the end."""
    with made(tmp_path / "a.txt") as file:
        (tmp_path / "a.txt").mkdir()
        with pytest.raises(OutputFileError, match=r"a.txt is a folder"):
            file.write(b"new")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_disk_that_fails_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems report what they could not write only when they are asked for it."""

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    (tmp_path / "a.txt").write_bytes(b"former")
    monkeypatch.setattr(os, "fsync", fail)
    with (
        made(tmp_path / "a.txt") as file,
        pytest.raises(OutputFileError, match=r"a.txt could not be given its name \(Input/output error\)"),
    ):
        file.write(b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"former"
    assert os.listdir(tmp_path) == ["a.txt"]
