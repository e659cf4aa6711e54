"""Where results go: no half file, nothing replaced that is no file, and permissions kept."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from microbatch.cli.app import main
from tests.support.command_line import SMALL_DISK, part_files, run
from tests.support.powers import without_root_powers

SOURCE = """
import glob, os, shutil
import numpy as np

def double(x):
    return 2 * x

def modes(x):
    return np.array([[os.stat(name).st_mode & 0o777 for name in glob.glob("y.npy.part-*")]] * len(x))

def remove_folder(x):
    shutil.rmtree("results")
    return 2 * x

def rename_folder(x):
    os.rename("results", "elsewhere")
    return 2 * x

def replace_folder(x):
    shutil.rmtree("results")
    with open("results", "w"):
        pass
    return 2 * x

def make_it_a_folder(x):
    os.makedirs("results/y.npy", exist_ok=True)
    return 2 * x

def make_it_a_fifo(x):
    os.mkfifo("results/y.npy")
    return 2 * x

def leave_folder(x):
    os.makedirs("deep/er", exist_ok=True)
    os.chdir("deep/er")
    return 2 * x

def names(x):
    return {"file": x, "allow_pickle": 2 * x}
"""
posix = pytest.mark.skipif(sys.platform == "win32", reason="files as POSIX has them")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a target and an input, and the current one."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "steps.py").write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.arange(100.0))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def to(output: str, function: str = "double") -> int:
    """The exit code of a run in this process."""
    return main(["run", f"steps.py:{function}", "--input", "x.npy", "--output", output, "--quiet"])


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that was said."""
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1, said.err
    return said.err


@posix
@pytest.mark.parametrize(
    ("kind", "words"),
    [("fifo", "a FIFO"), ("socket", "a socket"), ("device", "a device"), ("folder", "a folder")],
)
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_is_not_replaced(
    kind: str, words: str, linked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named itself or by a link, it is there afterwards, and nothing has waited for it."""
    if kind == "fifo":
        os.mkfifo("real.npy")
    elif kind == "folder":
        os.mkdir("real.npy")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("real.npy")
    else:
        os.symlink("/dev/null", "real.npy")
    before = os.stat("real.npy").st_mode
    if linked:
        os.symlink("real.npy", "y.npy")
    assert to("y.npy" if linked else "real.npy") == 2
    assert f"is {words}; " in refused(capsys)
    assert os.stat("real.npy").st_mode == before


@posix
@pytest.mark.parametrize("kind", [".npy", ".npz", ".txt", ".parquet"])
@pytest.mark.parametrize("command", ["run", "check", "tune"])
def test_an_input_that_is_no_file_is_not_waited_for(
    kind: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody writes to this FIFO."""
    os.mkfifo(f"in{kind}")
    more = ["--output", "y.npy"] if command == "run" else []
    assert main([command, "steps.py:double", "--input", f"in{kind}", *more]) == 2
    assert refused(capsys) == f"error: in{kind} is a FIFO; name a regular file\n"


@posix
@pytest.mark.parametrize("name", ["steps2.py", "h.db", "microbatch.toml", "pyproject.toml"])
def test_no_other_file_is_waited_for(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The target, the history, and configuration files."""
    os.mkfifo(name)
    if name == "steps2.py":
        words = ["run", "steps2.py:f", "--input", "x.npy", "--output", "y.npy"]
    elif name == "h.db":
        words = ["history", "show", "--path", name]
    else:
        words = ["config"]
    assert main(words) == 2
    assert "no regular file" in refused(capsys)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_permissions_are_those_of_the_file_that_is_replaced(mode: int) -> None:
    """From the first byte on: nobody reads in the part file what nobody could read in the old one."""
    Path("y.npy").write_bytes(b"former")
    os.chmod("y.npy", mode)
    assert to("y.npy", "modes") == 0
    assert stat.S_IMODE(os.stat("y.npy").st_mode) == mode
    assert set(np.load("y.npy").ravel()) == {mode}


@posix
def test_permissions_of_a_new_file_are_the_usual_ones() -> None:
    before = os.umask(0o027)
    try:
        assert to("y.npy") == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat("y.npy").st_mode) == 0o640


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_root_leaves_a_file_to_its_owner() -> None:
    Path("y.npy").write_bytes(b"former")
    os.chown("y.npy", 1234, 4321)
    assert to("y.npy") == 0
    assert (os.stat("y.npy").st_uid, os.stat("y.npy").st_gid) == (1234, 4321)


@posix
def test_links(folder: Path) -> None:
    """A link stays and its file is replaced or made; another name of the old file keeps the old content."""
    (folder / "results" / "real.npy").write_bytes(b"former")
    os.link("results/real.npy", "other.npy")
    os.symlink("results/real.npy", "there.npy")
    os.symlink("results/new.npy", "dangling.npy")
    for name in ("there.npy", "dangling.npy"):
        assert to(name) == 0
        assert os.path.islink(name)
        assert np.load(name)[1] == 2
    assert Path("other.npy").read_bytes() == b"former"
    assert sorted(os.listdir("results")) == ["new.npy", "real.npy"]


@posix
@pytest.mark.parametrize("output", ["loop.npy", "dangling.npy", f"{'a' * 300}.npy", f"{'a' * 250}.npy"])
def test_names_that_cannot_be(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A link to itself, one into no folder, names that are too long with or without the ending of a part."""
    os.symlink("loop.npy", "loop.npy")
    os.symlink("missing/y.npy", "dangling.npy")
    assert to(output) == 2
    assert refused(capsys).startswith(("error: a", "error: loop", "error: the folder of dangling"))
    assert main(["run", "steps.py:double", "--input", output, "--output", "y.npy"]) == 2
    assert refused(capsys).startswith(f"error: {output} ")
    assert part_files(Path()) == []


@posix
@pytest.mark.parametrize(
    ("function", "output"),
    [
        ("remove_folder", "results/y.npy"),
        ("remove_folder", "results/y.npz"),
        ("rename_folder", "results/y.npy"),
        ("replace_folder", "results/y.npy"),
        ("make_it_a_folder", "results/y.npy"),
        ("make_it_a_fifo", "results/y.npy"),
    ],
)
@pytest.mark.counted
def test_the_place_goes_away_during_the_run(
    function: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said of the place, not of the function, and nothing is there that looks like a result."""
    assert to(output, function) == 2
    assert refused(capsys).startswith(f"error: {output} ")
    assert not os.path.isfile(output)


@pytest.mark.counted
def test_the_function_changes_the_folder_of_the_process(folder: Path) -> None:
    """The output is where its name led when the run began."""
    assert to("y.npy", "leave_folder") == 0
    assert np.load(folder / "y.npy")[1] == 2


def test_arrays_of_any_name_go_into_an_archive() -> None:
    """Also those that numpy.savez takes for its own arguments."""
    assert to("y.npz", "names") == 0
    with np.load("y.npz") as arrays:
        assert sorted(arrays) == ["allow_pickle", "file"]


class TestPermissions:
    """What this user may not read or write is said in one line."""

    @pytest.fixture(autouse=True)
    def closed(self, folder: Path) -> None:
        """A folder that may not be written to, one that may not be entered, and files of that kind."""
        for name, mode in (("readonly", 0o555), ("closed", 0o000)):
            (folder / name).mkdir()
            for kept in ("x.npy", "steps.py"):
                (folder / name / kept).write_bytes((folder / kept).read_bytes())
            (folder / name).chmod(mode)
        for name in ("x2.npy", "steps2.py", "h.db", "c.toml"):
            (folder / name).write_bytes(b"")
            (folder / name).chmod(0)

    @posix
    @pytest.mark.parametrize(
        "words",
        [
            "run steps.py:double --input x.npy --output readonly/y.npy",
            "run steps.py:double --input x.npy --output closed/y.npy",
            "run steps.py:double --input x.npy --output closed/er/y.npy",
            "run steps.py:double --input x2.npy --output y.npy",
            "run steps.py:double --input closed/x.npy --output y.npy",
            "run closed/steps.py:double --input x.npy --output y.npy",
            "run steps2.py:double --input x.npy --output y.npy",
            "check steps.py:double --input closed/x.npy",
            "tune steps.py:double --input x.npy --sizes 10 --write readonly/microbatch.toml",
            "tune steps.py:double --input x.npy --sizes 10 --write closed/microbatch.toml",
            "tune steps.py:double --input x.npy --sizes 10 --write c.toml",
            "tune steps.py:double --input x.npy --sizes 10 --plot closed/p.png",
            "tune steps.py:double --input x.npy --sizes 10 --plot readonly/p.svg",
            "history show --path closed/h.db",
            "history show --path h.db",
        ],
    )
    def test_refused(self, words: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """With the path, and nothing written."""
        if "--plot" in words:
            pytest.importorskip("matplotlib", reason="needs the extra [plot]")
        before = sorted(os.listdir(folder))
        assert without_root_powers(lambda: main(words.split())) == 2
        said = refused(capsys)
        assert any(word in said for word in ("readonly", "closed", "2.", "h.db", "c.toml"))
        assert sorted(os.listdir(folder)) == before

    @posix
    def test_a_configuration_that_may_not_be_read(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Named, found, or above a folder that may not be looked into."""
        monkeypatch.setenv("MICROBATCH_CONFIG", "c.toml")
        assert without_root_powers(lambda: main(["config"])) == 2
        assert "c.toml cannot be read: Permission denied" in refused(capsys)
        monkeypatch.delenv("MICROBATCH_CONFIG")
        (folder / "c.toml").rename("microbatch.toml")
        assert without_root_powers(lambda: main(["config"])) == 2
        assert "microbatch.toml cannot be read: Permission denied" in refused(capsys)
        os.chmod("closed", 0o700)
        monkeypatch.chdir("closed")
        os.chmod(".", 0)
        assert without_root_powers(lambda: main(["config"])) in (0, 2)
        assert "Traceback" not in capsys.readouterr().err

    @posix
    def test_the_current_folder_is_gone(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Absolute paths need none; others are refused."""
        (folder / "gone").mkdir()
        monkeypatch.chdir("gone")
        (folder / "gone").rmdir()
        words = ["run", f"{folder}/steps.py:double", "--input", f"{folder}/x.npy", "--quiet", "--output"]
        assert main([*words, f"{folder}/y.npy"]) == 0
        capsys.readouterr()
        assert main([*words, "y.npy"]) == 2
        assert refused(capsys).startswith("error: y.npy cannot be written")
        assert main(["run", "steps:double", "--input", f"{folder}/x.npy", "--output", f"{folder}/y.npy"]) == 2
        assert "steps" in refused(capsys)


@pytest.mark.skipif(sys.platform != "linux", reason="a disk of its own needs namespaces")
@pytest.mark.parametrize("output", ["results/y.npy", "results/y.npz"])
def test_a_full_disk(folder: Path, output: str) -> None:
    """The reason, and what was there before; what is too large is refused before the work where it can be."""
    np.save("x.npy", np.zeros(100_000))
    words = ("run", "steps.py:double", "--input", "x.npy", "--output", output, "--quiet")
    before = SMALL_DISK.format(folder="results", size=100_000) + (
        f"import atexit\nopen({output!r}, 'w').write('former')\n"
        f"atexit.register(lambda: print(os.listdir('results'), open({output!r}).read()))\n"
    )
    end = run(folder, *words, before=before)
    if end.err.startswith("no disk"):
        pytest.skip(end.err.strip())
    assert end.code == 2
    assert end.err.startswith(f"error: {output} ") and "No space left on device" in end.err
    assert end.err.count("\n") == 1
    assert end.out.splitlines()[-1] == f"['{output.removeprefix('results/')}'] former"


@pytest.mark.skipif(sys.platform == "win32", reason="limits as POSIX has them")
@pytest.mark.parametrize("output", ["y.npy", "y.npz"])
def test_a_file_that_may_not_grow(folder: Path, output: str) -> None:
    """Where no disk can be mounted, a limit on files is as good."""
    np.save("x.npy", np.zeros(100_000))
    (folder / output).write_bytes(b"former")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    words = ("run", "steps.py:double", "--input", "x.npy", "--output", output, "--quiet")
    end = run(folder, *words, before=limit)
    assert end.code == 2
    assert end.err.startswith(f"error: {output} ") and "File too large" in end.err
    assert end.err.count("\n") == 1
    assert (folder / output).read_bytes() == b"former"
    assert part_files(folder) == []
