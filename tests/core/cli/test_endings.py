"""However a command ends, the output is whole or as it was, and what is said of it is true.

Real processes and real signals; the function says when it was called, so nothing depends on time.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.command_line import STRIKE, Ended, killed, part_files, run, start

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="a supervising process needs POSIX signals"),
    pytest.mark.counted,
]

SOURCE = r"""
import ctypes, os, signal, threading

entered, never = threading.Event(), threading.Event()


def double(x):
    return 2 * x


def stuck(x):
    if x[0] >= 50:
        os.write(2, b"ready\n")
        never.wait()
    return x


def stuck_worker(x):
    if threading.current_thread() is not threading.main_thread():
        os.write(2, b"ready\n")
        entered.set()
        never.wait()
    entered.wait()
    return x


def stuck_with_the_lock(x):
    os.write(2, b"ready\n")
    ctypes.PyDLL(None).sleep(1000)


def stubborn(x):
    os.write(2, b"ready\n")
    while True:
        try:
            never.wait()
        except KeyboardInterrupt:
            pass


def again(x):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        never.wait()
    finally:
        os.kill(os.getpid(), signal.SIGINT)


def translate(x):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        never.wait()
    except KeyboardInterrupt:
        raise RuntimeError("release unlocked lock")  # as Event.wait itself does now and then


def leave(x):
    os._exit(0)


def kill(x):
    os.kill(os.getpid(), signal.SIGKILL)


def crash(x):
    ctypes.string_at(0)


def cut_short(x):
    os.truncate("x.npy", 4096)
    return 2 * x


def cut_a_little(x):
    os.truncate("x.npy", os.path.getsize("x.npy") - 8)
    return 2 * x


def touch(x):
    os.utime("x.npy")
    return 2 * x


def append(x):
    with open("x.npy", "ab") as file:
        file.write(b"more")
    return 2 * x


def replace(x):
    os.replace("other.npy", "x.npy")
    return 2 * x
"""
NO_CORE = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"
WORDS = ("--input", "x.npy", "--output", "y.npy")
IN_TWO = ("--num-ubatches", "2", "--schedule", "sequential", "--quiet")
SIDE_BY_SIDE = ("--num-ubatches", "2", "--schedule", "parallel", "--workers", "2", "--quiet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a target, an input of 100 rows, and a former result."""
    (tmp_path / "steps.py").write_text(SOURCE)
    np.save(tmp_path / "x.npy", np.arange(100.0))
    (tmp_path / "y.npy").write_bytes(b"former")
    return tmp_path


def ended(folder: Path, function: str, *more: str, before: str = "") -> Ended:
    """The end of `run` with that function."""
    return run(folder, "run", f"steps.py:{function}", *WORDS, *more, before=before)


def as_it_was(folder: Path) -> bool:
    """Whether the former result is there, and nothing besides."""
    return (folder / "y.npy").read_bytes() == b"former" and not part_files(folder)


@pytest.mark.parametrize(
    ("function", "more", "number", "group", "rows"),
    [
        ("stuck", IN_TWO, signal.SIGINT, False, "50"),
        ("stuck", IN_TWO, signal.SIGINT, True, "50"),
        ("stuck", IN_TWO, signal.SIGTERM, False, "50"),
        ("stuck", IN_TWO, signal.SIGHUP, True, "50"),
        ("stuck_worker", SIDE_BY_SIDE, signal.SIGINT, False, "(0|50)"),
        ("stuck_with_the_lock", IN_TWO, signal.SIGINT, True, "0"),
        ("stubborn", IN_TWO, signal.SIGTERM, False, "0"),
    ],
)
def test_a_signal_ends_it_and_it_says_so_once(
    folder: Path, function: str, more: tuple[str, ...], number: int, group: bool, rows: str
) -> None:
    """Also where a worker never comes back, native code holds Python's lock, or the function catches it."""
    with start(folder, "run", f"steps.py:{function}", *WORDS, *more) as started:
        started.wait_until_ready()
        started.send(number, group=group)
        end = started.end()
    assert end.code == 128 + number
    said = f"interrupted after {rows} of 100 rows; nothing was written to y.npy\n"
    assert re.fullmatch(said, end.err)
    assert as_it_was(folder)


def test_a_second_signal_while_it_unwinds_changes_nothing(folder: Path) -> None:
    end = ended(folder, "again", "--quiet")
    assert end.code == 130
    assert end.err == "interrupted after 0 of 100 rows; nothing was written to y.npy\n"
    assert as_it_was(folder)


@pytest.mark.parametrize("more", [(), ("--on-error", "skip")])
def test_what_a_function_makes_of_an_interrupt_is_one(folder: Path, more: tuple[str, ...]) -> None:
    """No error of the function, and no rows that it failed for."""
    end = ended(folder, "translate", *more)
    said = "interrupted after 0 of 100 rows; nothing was written to y.npy\n"
    assert (end.code, end.out, end.err) == (130, "", said)
    assert as_it_was(folder)


@pytest.mark.parametrize("module", ["microbatch.cli.supervisor", "numpy", "steps"])
def test_two_interrupts_during_an_import_end_it_quietly(folder: Path, module: str) -> None:
    """Python's own modules, ours, NumPy, and what the target imports: no traceback."""
    (folder / "caller.py").write_text("import steps\n\ndef double(x):\n    return 2 * x\n")
    before = STRIKE.format(module=module, numbers=(int(signal.SIGINT),) * 2)
    end = run(folder, "run", "caller.py:double", *WORDS, before=before)
    said = "interrupted before the first row; nothing was written to y.npy\n" if module == "steps" else ""
    assert (end.code, end.out, end.err) == (130, "", said)
    assert as_it_was(folder)


def test_an_interrupt_of_a_listing_is_quiet(folder: Path) -> None:
    end = run(folder, "config", before=STRIKE.format(module="typer", numbers=(int(signal.SIGINT),)))
    assert (end.code, end.out, end.err) == (130, "", "")


def test_the_kernel_kills_it_and_the_rest_is_told(folder: Path) -> None:
    """As it does where memory runs out; nobody but the other process can say so."""
    end = ended(folder, "kill", "--quiet")
    assert end.code == 128 + signal.SIGKILL
    assert end.err.startswith(
        "error: the process was killed (SIGKILL) while running steps.py:kill after 0 of 100 rows, most often "
        "because memory ran out; nothing was written to y.npy; lower "
    )
    assert as_it_was(folder)


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        (("run", "steps.py:crash", *WORDS, "--quiet"), " after 0 of 100 rows; nothing was written to y.npy"),
        (("check", "steps.py:crash", "--input", "x.npy"), "; there is no answer"),
        (("tune", "steps.py:crash", "--input", "x.npy"), "; nothing was written"),
    ],
)
def test_a_crash_of_compiled_code_is_told(folder: Path, words: tuple[str, ...], lost: str) -> None:
    end = run(folder, *words, before=NO_CORE)
    assert end.code == 128 + signal.SIGSEGV
    assert end.err == (
        f"error: the process crashed in compiled code (SIGSEGV) while running steps.py:crash{lost}\n"
    )
    assert as_it_was(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGSEGV])
def test_what_comes_after_the_end_changes_nothing(folder: Path, number: int) -> None:
    """The result is there and was told, so the exit code is 0, however Python's own end goes."""
    source = f"import atexit, os\natexit.register(lambda: os.kill(os.getpid(), {int(number)}))\n{SOURCE}"
    (folder / "steps.py").write_text(source)
    end = ended(folder, "double", "--quiet", before=NO_CORE)
    assert (end.code, end.err) == (0, "")
    assert np.load(folder / "y.npy")[1] == 2


def test_a_process_that_ends_itself_is_told(folder: Path) -> None:
    """Exit code 0 would say that there is a result."""
    end = ended(folder, "leave", "--quiet")
    assert end.code == 1
    assert end.err == (
        "error: the process ended with exit code 0 while running steps.py:leave after 0 of 100 rows, before "
        "it was done; nothing was written to y.npy\n"
    )
    assert as_it_was(folder)


def test_killing_the_command_ends_both_processes_and_the_next_run_tidies_up(folder: Path) -> None:
    """`start` reads pipes that both of them hold, so `end` would wait for one that goes on."""
    with start(folder, "run", "steps.py:stuck", *WORDS, *IN_TWO) as started:
        started.wait_until_ready()
        started.send(signal.SIGKILL)
        assert started.end().code == -signal.SIGKILL
    assert (folder / "y.npy").read_bytes() == b"former"
    assert len(part_files(folder)) == 1
    assert ended(folder, "double").code == 0
    assert np.load(folder / "y.npy")[1] == 2
    assert part_files(folder) == []


class TestChangedInputs:
    """A mapped file that others write to while it is read."""

    @pytest.mark.parametrize("function", ["cut_short", "cut_a_little"])
    def test_cut_short(self, folder: Path, function: str) -> None:
        """Pages that are gone are SIGBUS; less than a page is zeros, which nothing but the size shows."""
        np.save(folder / "x.npy", np.arange(100_000.0))
        end = ended(folder, function, "--quiet")
        assert end.code == 4
        assert end.err.startswith(
            "error: x.npy was cut short while it was read: it had 800,128 bytes and has "
        )
        assert end.err.endswith("; run again when nobody writes to it; nothing was written to y.npy\n")
        assert as_it_was(folder)

    @pytest.mark.parametrize("function", ["touch", "append"])
    def test_written_to(self, folder: Path, function: str) -> None:
        """Nothing is gone, so the result is kept, with a warning."""
        end = ended(folder, function, "--quiet")
        assert (end.code, end.err.count("\n")) == (0, 1)
        assert end.err.startswith("warning: x.npy was changed while it was read, so y.npy may be of rows ")
        assert len(np.load(folder / "y.npy")) == 100

    def test_written_to_while_it_is_checked(self, folder: Path) -> None:
        """The answer is given, with a warning; and none where rows are gone."""
        end = run(folder, "check", "steps.py:touch", "--input", "x.npy")
        assert (end.code, end.err.count("\n")) == (0, 1)
        assert end.err.startswith("warning: x.npy was changed while it was read, so the answer may be ")
        end = run(folder, "check", "steps.py:cut_a_little", "--input", "x.npy")
        assert end.code == 4 and end.err.endswith("; there is no answer\n")

    def test_replaced(self, folder: Path) -> None:
        """By a new file of that name: the old one is read to the end, so there is nothing to say."""
        np.save(folder / "other.npy", np.zeros(3))
        end = ended(folder, "replace", "--quiet")
        assert (end.code, end.err) == (0, "")
        np.testing.assert_array_equal(np.load(folder / "y.npy"), 2 * np.arange(100.0))


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_time(folder: Path, seed: int) -> None:
    """At drawn times, the command alone or all of its processes: the result is the old or the new one."""
    drawn = random.Random(seed)
    number = drawn.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    end = killed(
        folder,
        "run",
        "steps.py:double",
        *WORDS,
        number=number,
        after=drawn.uniform(0.0, 0.8),
        group=drawn.random() < 0.5,
    )
    whole = (folder / "y.npy").read_bytes() != b"former"
    if whole:
        np.testing.assert_array_equal(np.load(folder / "y.npy"), 2 * np.arange(100.0))
    assert end.code != 0 or whole
    assert number == signal.SIGKILL or part_files(folder) == []


def test_without_a_second_process_the_work_is_done_in_the_first(folder: Path) -> None:
    """Where no more processes may be started; signals are heard there."""
    refuse = "import os\ndef fork(): raise BlockingIOError(11, 'no more')\nos.fork = fork\n"
    assert ended(folder, "double", before=refuse).code == 0
    assert np.load(folder / "y.npy")[1] == 2
    (folder / "y.npy").write_bytes(b"former")
    with start(folder, "run", "steps.py:stuck", *WORDS, *IN_TWO, before=refuse) as started:
        started.wait_until_ready()
        started.send(signal.SIGTERM)
        end = started.end()
    assert (end.code, end.err) == (143, "interrupted after 50 of 100 rows; nothing was written to y.npy\n")
    assert as_it_was(folder)
    assert ended(folder, "again", before=refuse).code == -signal.SIGINT, "the second one has its usual effect"


def test_names_of_any_bytes(folder: Path) -> None:
    """They are written as escapes where they have no characters."""
    name = os.fsdecode(b"r\xe9sultat.npy")
    end = run(folder, "run", "steps.py:double", "--input", "x.npy", "--output", name, "--json")
    assert end.code == 0
    assert '"r\ufffdsultat.npy"' in end.out
    assert np.load(folder / name)[1] == 2
    end = run(folder, "run", "steps.py:kill", "--input", "x.npy", "--output", name, "--quiet")
    assert end.code == 137 and "nothing was written to r\\udce9sultat.npy" in end.err
