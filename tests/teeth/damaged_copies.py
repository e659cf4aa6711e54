"""Copies of our packages with something taken out, and what the tests say of them.

Invariant: the working tree is never touched, and a copy is whole again after each change. Several copies are
asked at the same time, each by one test run. A limit on time counts as a test that noticed: what was taken
out made it hang.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Self, TypeVar

__all__ = ["ROOT", "TIME", "Copies", "Copy", "arguments", "spread"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")

ROOT = Path(__file__).parents[2]
"""The working tree; tests are run from here, the packages they import are those of a copy."""
SOURCE_ROOTS = ("core", "backends", "plugins")
LIMIT = 90.0
"""Seconds for one test run, which takes up to 25 where nothing fails; a single test has 20."""
MEMORY = 3 << 20
"""KiB that one run of tests of the hand-off may take: a loop that never ends may also fill memory."""
TIME = "time"
"""What a run that does not end in time says in place of the test that failed."""
OPTIONS = (
    "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=20",
    "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT),
)  # fmt: skip


class Copy:
    """A folder with copies of all our packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for source in SOURCE_ROOTS:
            shutil.copytree(
                ROOT / source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        compileall.compile_dir(folder, quiet=2)

    def file(self, module: str) -> Path:
        """The copy of a file, named below its source root: `microbatch/turns/handoff.py`."""
        return self.folder / module

    @contextmanager
    def changed(self, module: str, source: bytes) -> Iterator[None]:
        """The copy with one file replaced for the time of the block; its compiled form is not used."""
        file = self.file(module)
        whole = file.read_bytes()
        for compiled in file.parent.glob(f"__pycache__/{file.stem}.*.pyc"):
            compiled.unlink()
        file.write_bytes(source)
        try:
            yield
        finally:
            file.write_bytes(whole)

    def first_failure(self, *tests: str, limit: float = LIMIT, memory: int | None = None) -> str:
        """The first of `tests` that fails, as pytest names it, or the file that cannot be collected.

        TIME where they do not end within `limit` seconds or die, empty where all pass. `tests` may hold
        options of pytest. SystemExit where pytest cannot run what it was given. `memory` is in KiB.
        """
        capped = f'ulimit -v {memory or "unlimited"}; exec "$@"'
        command = ["sh", "-c", capped, "sh", sys.executable, "-m", "pytest", *OPTIONS, *map(_absolute, tests)]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment(), capture_output=True, text=True,
                timeout=limit, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return TIME
        if done.returncode == 0:
            return ""
        if done.returncode in (4, 5):
            raise SystemExit(
                f"pytest cannot run what it was given:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return "tests" + failed[0].partition("tests")[2].partition(" - ")[0] if failed else TIME

    def environment(self) -> dict[str, str]:
        """What a process that is to use this copy has in its environment."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(self.folder), str(ROOT))),  # ROOT has `tests` only
            "PYTHONDONTWRITEBYTECODE": "1",  # two edits within a second would share one cached file
            "HYPOTHESIS_PROFILE": "teeth",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # a second less for each run
        }


class Copies:
    """As many copies as there are test runs at a time; a context manager, which drops them at its end."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._free: SimpleQueue[Copy] = SimpleQueue()

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        for number in range(self._jobs):
            self._free.put(Copy(Path(self._folder.name) / str(number)))
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    @contextmanager
    def one(self) -> Iterator[Copy]:
        """A copy that nobody else has for the time of the block."""
        copy = self._free.get()
        try:
            yield copy
        finally:
            self._free.put(copy)

    def ask(self, question: Callable[[Copy, Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """The answer to each of `items`, in their order; each question has a copy to itself."""

        def on_a_copy(item: Item) -> Answer:
            with self.one() as copy:
                return question(copy, item)

        with ThreadPoolExecutor(self._jobs) as pool:
            return list(pool.map(on_a_copy, items))

    def check_sound(self, *tests: str, limit: float = LIMIT) -> None:
        """SystemExit where one of `tests` fails although nothing was taken out."""
        with self.one() as copy:
            failed = copy.first_failure(*tests, limit=limit)
        if failed:
            raise SystemExit(f"{failed} fails on the undamaged packages; repair that first")


def arguments(tool: str) -> argparse.ArgumentParser:
    """What all tools are called with."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.teeth.{tool}")
    parser.add_argument("--jobs", type=int, default=2, help="test runs at a time")
    parser.add_argument("--at-most", type=int, default=None, help="try so many changes only, spread evenly")
    return parser


def spread(items: Sequence[Item], at_most: int | None) -> list[Item]:
    """At most so many of `items`, evenly spread and in their order; all for None."""
    if at_most is None or at_most >= len(items):
        return list(items)
    return [items[index * len(items) // at_most] for index in range(at_most)]


def _absolute(argument: str) -> str:
    """A test by its path, since pytest is run in the folder of the copy; other arguments as they are."""
    return str(ROOT / argument) if argument.startswith("tests/") else argument
