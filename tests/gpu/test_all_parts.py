"""`python -m benchmarks gpu --all`: its order and shares, the file after each part, parts that end badly."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_all import Run, command_of
from benchmarks.gpu_answers import BAD, write_whole
from benchmarks.gpu_part import outcome
from benchmarks.gpu_parts import PARTS, Part
from benchmarks.gpu_report import show_all

ROOT = Path(__file__).parents[2]
GOOD = {
    "state": "reached",
    "rows": [{"work": "w", "against": "a", "aim": "1", "measured": "1", "reached": True}],
}
WRITES = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
BEHAVIOURS: Mapping[str, tuple[str, str]] = {
    "good": (WRITES, "reached"),
    "missing a figure": (WRITES, "missed"),
    "raising": ("raise ValueError('why')", "failed"),
    "silent": ("", "failed"),
    "writing half": (WRITES.replace("sys.argv[2]", "sys.argv[2][:9]"), "failed"),
    "writing something else": (WRITES.replace("sys.argv[2]", "'[7]'"), "failed"),
    "hanging": ("import threading; threading.Event().wait()", "hung"),
    "hanging and deaf": (
        "import signal, threading; signal.signal(signal.SIGABRT, signal.SIG_IGN); threading.Event().wait()",
        "hung",
    ),
    "killed": (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", "killed"),
    "aborting": ("import os; os.abort()", "killed"),
}
"""What a part does -> its program, and what is said of it."""


def made(names: Sequence[str]) -> tuple[Part, ...]:
    return tuple(Part(name=name, work="", share=100 / len(names), needs="torch") for name in names)


def command(part: Part, file: Path) -> list[str]:
    answer = GOOD | ({"state": "missed"} if part.name == "missing a figure" else {})
    return [
        sys.executable,
        "-X",
        "faulthandler",
        "-S",
        "-c",
        BEHAVIOURS[part.name][0],
        str(file),
        json.dumps(answer),
    ]


def states(file: Path) -> list[str]:
    return [part["state"] for part in json.loads(file.read_text())["parts"]]


def test_the_order_is_that_of_the_promise_and_the_shares_are_the_whole() -> None:
    """First whether anything works, then how fast; each row of the table is a part."""
    names = [part.name for part in PARTS]
    assert names == [
        "devices", "smoke: torch-cuda", "smoke: cupy", "conformance: torch-cuda", "conformance: cupy",
        "pitfalls: torch-cuda", "pitfalls: cupy", "graphs", "out of memory", "copies beside compute",
        "hand-off", "dual batch", "captured against eager", "first step out of memory", "size search",
        "MiniLM", "CuPy chain",
    ]  # fmt: skip
    assert sum(part.share for part in PARTS) == 100


def test_each_part_is_written_as_it_ends_and_none_stops_the_next(tmp_path: Path) -> None:
    """One of each kind; the file is whole after each, and names those whose turn has not come."""
    file, names = tmp_path / "gpu.json", list(BEHAVIOURS)
    run, seen = Run(command=command, file=file, seconds=2.0 * len(names), parts=made(names)), []
    started = time.monotonic()
    run.go(lambda answer: seen.append((answer.part, states(file))))
    assert time.monotonic() - started <= run.seconds + 5
    expected = [state for _, state in BEHAVIOURS.values()]
    for number, (name, written) in enumerate(seen):
        assert name == names[number]
        assert written == expected[: number + 1] + ["waiting"] * (len(names) - number - 1)
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.json"]
    answers = {answer.part: answer for answer in run.answers}
    assert "ValueError: why" in answers["raising"].text
    assert "SIGKILL" in answers["killed"].text and "SIGABRT" in answers["aborting"].text
    assert "in wait" in answers["hanging"].text, "where it hung is told"


def test_what_a_part_started_ends_with_it(tmp_path: Path) -> None:
    """A process that a part left would go on using the device."""
    code = (
        "import subprocess, sys; child = subprocess.Popen([sys.executable, '-S', '-c',"
        " 'import threading; threading.Event().wait()'], stdout=subprocess.PIPE);"
        "open(sys.argv[1] + '.child', 'w').write(str(child.pid)); open(sys.argv[1], 'w').write(sys.argv[2])"
    )
    children: list[Path] = []

    def leaving(part: Part, file: Path) -> list[str]:
        children.append(tmp_path / "child")
        return [sys.executable, "-S", "-c", code.replace("sys.argv[1] + '.child'", repr(str(children[-1]))),
                str(file), json.dumps(GOOD)]  # fmt: skip

    Run(command=leaving, file=tmp_path / "gpu.json", seconds=20, parts=made(["one"])).go(lambda answer: None)
    assert _is_gone(int(children[0].read_text()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_ended_by_a_signal_ends_its_part(tmp_path: Path, number: signal.Signals) -> None:
    """The file is whole, and says what has not run."""
    program = (
        "import sys; from pathlib import Path; from benchmarks.gpu_all import *\n"
        "leave_on_signals(); folder = Path(sys.argv[1])\n"
        "code = 'import os, sys, threading; print(os.getpid(), file=open(sys.argv[1], chr(119)), flush=True);"
        " threading.Event().wait()'\n"
        "Run(command=lambda part, file: [sys.executable, '-S', '-c', code, str(folder / 'child')],"
        " file=folder / 'gpu.json', seconds=600).go(print)"
    )
    run = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT)
    child = tmp_path / "child"
    deadline = time.monotonic() + 30
    while not (child.exists() and child.read_text().endswith("\n")):
        assert time.monotonic() < deadline and run.poll() is None
    run.send_signal(number)
    assert run.wait(30) == 128 + number
    assert _is_gone(int(child.read_text()))
    assert set(states(tmp_path / "gpu.json")) == {"waiting"}


def _is_gone(process: int) -> bool:
    """Ended, and at most not yet waited for by whoever inherited it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
    return False


def test_without_a_device_no_part_is_started(tmp_path: Path) -> None:
    """What the first part says of the devices decides for all others."""
    started: list[str] = []
    none = {"state": "no device", "text": "no device: none"}
    facts = {"absent": {"torch": none, "cupy": {"state": "skipped", "text": "not installed"}}, "card": "none"}

    def told(part: Part, file: Path) -> list[str]:
        started.append(part.name)
        return [sys.executable, "-S", "-c", WRITES, str(file), json.dumps({**GOOD, "facts": facts})]

    run = Run(command=told, file=tmp_path / "gpu.json", seconds=600)
    run.go(lambda answer: None)
    assert started == ["devices"]
    expected = ["skipped" if part.needs == "cupy" else "no device" for part in PARTS[1:]]
    assert states(run.file) == ["reached", *expected]
    assert not any(answer.state in BAD for answer in run.answers)


def test_a_first_part_that_fails_leaves_the_others_to_find_out(tmp_path: Path) -> None:
    """The rest is tried all the same."""

    def told(part: Part, file: Path) -> list[str]:
        if part.needs is None:
            return [sys.executable, "-S", "-c", "raise SystemExit(3)"]
        return [sys.executable, "-S", "-c", WRITES, str(file), json.dumps(GOOD)]

    run = Run(command=told, file=tmp_path / "gpu.json", seconds=600)
    run.go(lambda answer: None)
    assert states(run.file) == ["failed"] + ["reached"] * (len(PARTS) - 1)


def test_an_interrupt_leaves_a_whole_file_and_no_process(tmp_path: Path) -> None:
    """Ctrl-C while a part is told of: those after it have not run."""
    run = Run(command=command, file=tmp_path / "gpu.json", seconds=40, parts=made(["good", "good"]))

    def interrupted(answer: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.go(interrupted)
    assert states(run.file) == ["reached", "waiting"]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """Whoever had it open still has the old text; where it cannot be written, the old one stays."""
    file = tmp_path / "gpu.json"
    write_whole(file, "old")
    with file.open() as held:
        write_whole(file, "new")
        assert held.read() == "old" and file.read_text() == "new"
    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "\ud800")
    assert file.read_text() == "new" and len(list(tmp_path.iterdir())) == 1


def test_what_a_part_needs_and_raises_is_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is missing is no failure; an error is one, with the place."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    part = next(part for part in PARTS if part.name == "MiniLM")
    said = outcome(part, simulated=True)
    assert said["state"] == "skipped" and "cannot be imported" in said["text"]
    said = outcome(Part(name="x", work="benchmarks.gpu:no_such", share=1), simulated=True)
    assert said["state"] == "failed" and "no_such" in said["text"] and "trace" in said["facts"]


@pytest.mark.torch
@pytest.mark.parametrize(
    "name",
    ["devices", "smoke: torch-cuda", "smoke: cupy", "out of memory", "hand-off", "size search", "CuPy chain"],
)
def test_parts_run_on_the_simulated_device(name: str) -> None:
    """The very functions that run on a real one; what is no time is shown."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    if torch.cuda.is_available():
        pytest.skip("there is a device here, on which the parts run for real")
    said: dict[str, Any] = outcome(next(part for part in PARTS if part.name == name), simulated=True)
    assert said["rows"], said
    timed, counted = ["rehearsed"], ["reached", "missed"]
    may = {"hand-off": timed, "CuPy chain": timed, "size search": counted}
    assert said["state"] in may.get(name, ["reached"])


def test_the_table_names_the_card_and_every_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With figures where there are some, else with what became of it."""
    monkeypatch.setenv("COLUMNS", "170")
    run = Run(command=command, file=tmp_path / "gpu.json", seconds=8, parts=made(["good", "killed"]))
    run.go(lambda answer: None)
    show_all(run.answers, {"card": "NVIDIA [H200]", "torch": "2.11"})
    text = capsys.readouterr().out
    assert text.startswith("NVIDIA [H200] (torch 2.11)")
    assert all(word in text for word in ("good", "reached", "killed", "SIGKILL"))


def test_a_part_is_found_by_its_name_and_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The command that starts it, as it is started."""
    words = command_of(True)(PARTS[0], tmp_path / "answer")
    assert (
        words[-3:] == ["devices", str(tmp_path / "answer"), "--simulated"] and "benchmarks.gpu_part" in words
    )
