"""`python -m benchmarks gpu --all`: everything that is promised on a GPU, a process a part, into one file.

Invariant: a part that fails, hangs or is killed is written down as that, and the next one begins. All of it
ends within the time that is given, since each part may take its own share of that and no more. The file is
whole after each part. This process imports no framework, so it has neither memory nor a lock of the device.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.gpu_answers import BAD, Answer, answer_of, write
from benchmarks.gpu_parts import PARTS, Part
from benchmarks.gpu_report import line_of, show_all

__all__ = ["SECONDS", "Run", "command_of", "leave_on_signals", "run_all"]

ROOT = Path(__file__).parents[1]
SECONDS = 600.0
"""The whole time where nobody says."""
DYING = 0.1
"""The last of a part's share in which it is told to end and may say where it stands."""
TAIL = 2000
"""Characters that are kept of what a part printed, where it did not end well."""
STACK = ("-X", "faulthandler")
"""With it a process that is told to abort prints where its threads stand, also from inside of a driver."""

Command = Callable[[Part, Path], Sequence[str]]


def command_of(simulated: bool) -> Command:
    """What runs a part, and writes what became of it to a file."""
    options = ["--simulated"] if simulated else []
    return lambda part, file: [
        sys.executable, *STACK, "-m", "benchmarks.gpu_part", part.name, str(file), *options
    ]  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Run:
    """The run, as far as it is."""

    command: Command
    """What runs a part."""
    file: Path
    """Where all of it is written."""
    seconds: float = SECONDS
    """The whole time."""
    parts: Sequence[Part] = PARTS
    """What is run, in order."""
    answers: list[Answer] = field(default_factory=list)
    """What became of each part, in the order of `parts`."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The card, versions, and which frameworks have no device."""

    def __post_init__(self) -> None:
        self.answers = [Answer(part=part.name, limit=part.share * self.seconds / 100) for part in self.parts]

    def go(self, tell: Callable[[Answer], object]) -> None:
        """Run all parts; `tell` hears of each as it ends."""
        self.write()
        for number, part in enumerate(self.parts):
            answer = self.answers[number] = self._answer(part, self.answers[number])
            self.facts |= {} if part.needs else answer.facts
            self.write()
            tell(answer)

    def write(self) -> None:
        """Write all that is known."""
        write(self.file, self.answers, {"seconds": self.seconds, **self.facts})

    def _answer(self, part: Part, waiting: Answer) -> Answer:
        absent: Mapping[str, Any] = self.facts.get("absent", {})
        if part.needs in absent:
            return replace(waiting, **absent[part.needs])
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            fields = run_part(self.command(part, Path(folder) / "answer"), Path(folder), waiting.limit)
        return replace(waiting, seconds=round(time.monotonic() - started, 1), **fields)


def run_part(command: Sequence[str], folder: Path, limit: float) -> dict[str, Any]:
    """Fields of the answer of one process, which writes to `answer` in `folder` and ends within `limit`."""
    printed = folder / "printed"
    with printed.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=ROOT, start_new_session=True, env=_environment()
        )
        try:
            code = process.wait(limit * (1 - DYING))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process, limit * DYING)
    tail = printed.read_bytes()[-TAIL:].decode(errors="replace")
    if code is None:
        return {"state": "hung", "text": f"did not end within {limit:.0f} s; {tail}"}
    with suppress(OSError, ValueError):
        said = answer_of((folder / "answer").read_text())
        return said | ({} if said["state"] not in BAD else {"text": f"{said['text']}\n{tail}".strip()})
    if code < 0:
        return {"state": "killed", "text": f"ended by {signal.Signals(-code).name}; {tail}"}
    return {"state": "failed", "text": f"ended with {code} and wrote nothing; {tail}"}


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """End the process and all that it started; first it is told to abort, which prints where it stands.

    It is not waited for any longer where a driver does not let it go.
    """
    for number in (signal.SIGABRT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds / 2)


def leave_on_signals() -> None:
    """SIGTERM and SIGHUP end this process as an error would, so that the part that runs is ended too."""

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _environment() -> dict[str, str]:
    """Ours, with the root of the repository in front, where tests and benchmarks are."""
    found = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), found)))}


def run_all(file: Path, *, simulated: bool, seconds: float) -> int:
    """Run and print all; 1 where a part failed, hung, was killed, or missed a figure."""
    run = Run(command=command_of(simulated), file=file, seconds=seconds)
    leave_on_signals()
    try:
        run.go(lambda answer: print(line_of(answer), file=sys.stderr, flush=True))
    finally:
        show_all(run.answers, run.facts)
    return int(any(answer.state in BAD for answer in run.answers))
