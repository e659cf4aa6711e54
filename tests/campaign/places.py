"""`microbatch run` where the result cannot be written: a full disk, a limit, a read-only or vanished folder.

Invariant: such a run fails with a line that says why, without a traceback, and leaves nothing of itself; an
old result stays as it was. Disks are real ones of a few KiB, mounted in a namespace that ends with the
process; where the system does not permit that, a limit on the size of files stands in for the full disk.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

from tests.campaign.commands import COMMAND, made_in
from tests.campaign.records import Found

LEFT = frozenset({"threads", "descriptors"})
ROWS = 20_000
"""Rows of the input: 640 kB, and as much of the result."""
LIMIT = 60.0
"""Seconds for one run."""

INSIDE = """
import json, os, resource, subprocess, sys
limit, program, *arguments = json.loads(sys.argv[1])
def limited():
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
command = [sys.executable, "-c", program, *arguments]
run = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
there = os.path.isdir("results")
files = {name: os.path.getsize(f"results/{name}") for name in os.listdir("results")} if there else {}
print(json.dumps({"code": run.returncode, "said": run.stderr, "files": files}))
"""
"""Runs the command where the place is, and tells what is there afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place that cannot take the result."""

    name: str
    """For messages."""
    mounted: str = ""
    """Shell that mounts it at `results`; empty where it is a plain folder."""
    limit: int = 0
    """Most bytes of a file, 0 for no limit."""
    function: str = "doubled"
    """What is run."""
    keeps: bool = True
    """Whether an old result is still there afterwards."""


def begin() -> None:
    """Nothing is made once for all."""


def case(draw: Random) -> Found:
    """One run."""
    place, kind, old = draw.choice(_places()), draw.choice((".npy", ".npz")), draw.random() < 0.5
    with tempfile.TemporaryDirectory() as name:
        folder = made_in(Path(name))
        (folder / "results").mkdir()
        np.save(folder / "x.npy", np.arange(ROWS * 4.0).reshape(ROWS, 4))
        told = _run(folder, place, kind, old=old, room=draw.choice((8, 64, 400)))
    wrong = _wrong(told, place, {f"y{kind}": 3} if old and place.keeps else {})
    what = f"{place.name}, {kind}, {'with' if old else 'without'} an old file"
    failures = (f"{what}: {wrong}: {told}",) if wrong else ()
    return Found(units={"places": 1}, failures=failures)


def _places() -> Sequence[Place]:
    limits = [Place(name="a limit on files", limit=100_000)]
    vanished = [Place(name="a folder that vanishes", function="vanishing", keeps=False)]
    if not _may_mount():
        return limits + vanished
    return [
        *limits,
        *vanished,
        Place(name="a full disk", mounted="mount -t tmpfs -o size={room}k disk results; {old}"),
        Place(
            name="a read-only disk",
            mounted="mount -t tmpfs disk results; {old}; mount -o remount,ro results",
        ),
    ]


@cache
def _may_mount() -> bool:
    """Whether this user may mount disks of his own."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "disk", folder]
        try:
            return subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            return False


def _run(folder: Path, place: Place, kind: str, *, old: bool, room: int) -> dict[str, object]:
    """Run the command there; what it said and what is left."""
    target = ["run", f"steps.py:{place.function}", "--input", "x.npy", "--quiet", "--num-ubatches", "20"]
    asked = json.dumps([place.limit, COMMAND.replace('"run", ', ""), *target, "--output", f"results/y{kind}"])
    keep = f"printf old > results/y{kind}" if old else ":"
    prepare = place.mounted.format(room=room, old=keep) if place.mounted else keep
    shell = ["sh", "-c", f'{prepare}; exec "$0" -c "$1" "$2"', sys.executable, INSIDE, asked]
    command = ["unshare", "-rm", *shell] if place.mounted else shell
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=True)
    told: dict[str, object] = json.loads(ran.stdout)
    return told


def _wrong(told: dict[str, object], place: Place, files: dict[str, int]) -> str:
    """What is not as promised."""
    said = str(told["said"])
    if told["code"] == 0:
        return "it says that it has succeeded"
    if "Traceback" in said:
        return "it ended as a traceback"
    if f"{place.function} failed" in said or not said.strip():
        return "it does not say what was wrong"
    return "" if told["files"] == files else f"it left other files than {files}"
