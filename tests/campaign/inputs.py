"""`microbatch run` on damaged inputs of every kind.

Invariant: either the damage is told in a line and nothing is written, or the file can be read and the output
is what the function returns for it. A damage never ends as a traceback of the library, never as a crash, and
an old output stays.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.campaign.commands import Ended, Outcome, made_in, run_here
from tests.campaign.records import Found

LEFT = frozenset({"threads", "descriptors"})


def begin() -> None:
    """Read a whole file of each kind."""
    for make in MAKERS:
        with tempfile.TemporaryDirectory() as name:
            folder = made_in(Path(name))
            function, path, more = make(folder, Random(0))
            output = folder / "y.npy"
            ended = run_here(folder, function, "--input", path.name, "--output", output.name, *more)
            assert ended.code == 0, ended.said


def case(draw: Random) -> Found:
    """One damaged file."""
    with tempfile.TemporaryDirectory() as name:
        folder = made_in(Path(name))
        function, path, more = draw.choice(MAKERS)(folder, draw)
        damage = draw.choice(DAMAGES)
        damage(path, draw)
        outcome = Outcome.of(folder / "y.npy", old=draw.random() < 0.5)
        ended = run_here(folder, function, "--input", path.name, "--output", "y.npy", "--quiet", *more)
        wrong = _wrong(outcome, ended) or _wrong_answer(outcome, ended, path)
    what = f"{path.name}, {damage.__name__}"
    failures = (f"{what}: {wrong} (exit code {ended.code})\n{ended.said}",) if wrong else ()
    return Found(units={"inputs": 1, "refused": int(ended.code != 0)}, failures=failures)


def _wrong(outcome: Outcome, ended: Ended) -> str:
    if outcome.parts():
        return f"it left {outcome.parts()}"
    if ended.code == 0:
        return "" if not outcome.kept else "it says that it has succeeded, and there is no new output"
    if not outcome.kept:
        return "it has failed, and the output was changed"
    if "Traceback" in ended.said and "steps.py" not in ended.said:
        return "it ended as a traceback"
    return "" if ended.said.strip() else "it has failed and said nothing"


def _wrong_answer(outcome: Outcome, ended: Ended, path: Path) -> str:
    """What is wrong with the result of a damaged file that can be read, as NumPy alone reads it."""
    if ended.code or path.suffix not in (".npy", ".npz"):
        return ""
    found, answer = np.load(path), np.load(outcome.path)
    rows = found if isinstance(found, np.ndarray) else found[found.files[0]]
    equal = answer.shape == rows.shape and np.array_equal(answer, rows * 2, equal_nan=True)
    return "" if equal else "the result is not what the function returns for the file"


Made = tuple[str, Path, tuple[str, ...]]
"""The target, the input, more arguments."""


def an_array(folder: Path, draw: Random) -> Made:
    """`.npy`."""
    path = folder / "x.npy"
    np.save(path, np.arange(draw.choice((1, 50, 3000)) * 4.0).reshape(-1, 4))
    return "steps.py:doubled", path, ()


def an_archive(folder: Path, draw: Random) -> Made:
    """`.npz`."""
    path = folder / "x.npz"
    save = draw.choice((np.savez, np.savez_compressed))
    save(path, x=np.arange(draw.choice((1, 50, 3000)) * 4.0).reshape(-1, 4))
    return "steps.py:doubled", path, ()


def lines(folder: Path, draw: Random) -> Made:
    """`.txt`."""
    path = folder / "x.txt"
    path.write_text("".join("word " * draw.randrange(9) + "\n" for _ in range(draw.choice((1, 40, 900)))))
    return "steps.py:lengths", path, ()


def a_table(folder: Path, draw: Random) -> Made:
    """`.parquet`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "x.parquet"
    rows = draw.choice((1, 40, 900))
    pq.write_table(pa.table({"text": ["word " * (row % 9) for row in range(rows)]}), path)
    return "steps.py:lengths", path, ("--column", "text")


def some_bytes(path: Path, draw: Random) -> None:
    """1 to 64 bytes changed."""
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 2, 8, 64))):
        data[draw.randrange(len(data))] = draw.randrange(256)
    path.write_bytes(data)


def in_the_head(path: Path, draw: Random) -> None:
    """A byte of its first ones changed."""
    data = bytearray(path.read_bytes())
    data[draw.randrange(min(128, len(data)))] = draw.randrange(256)
    path.write_bytes(data)


def cut_short(path: Path, draw: Random) -> None:
    """Its end lost."""
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data))])


def more_at_the_end(path: Path, draw: Random) -> None:
    """Rubbish added."""
    path.write_bytes(path.read_bytes() + draw.randbytes(draw.randrange(1, 500)))


def rubbish(path: Path, draw: Random) -> None:
    """Nothing but rubbish."""
    path.write_bytes(draw.randbytes(draw.randrange(0, 3000)))


def of_another_kind(path: Path, draw: Random) -> None:
    """Something whole that is not what its name says."""
    made = draw.choice(("objects", "text", "structured", "scalar", "empty", "infinite"))
    arrays: dict[str, Any] = {
        "objects": np.array([{}, None], object),
        "structured": np.zeros(3, [("a", float), ("b", int)]),
        "scalar": np.array(3.0),
        "empty": np.zeros((0, 4)),
        "infinite": np.full((5, 4), np.nan),
    }
    with path.open("wb") as file:
        if made == "text":
            file.write("no array\n".encode("utf-16"))
        else:
            np.save(file, arrays[made], allow_pickle=True)


def no_file(path: Path, draw: Random) -> None:
    """A folder, nothing, a link to itself, a device."""
    path.unlink()
    draw.choice(
        (path.mkdir, lambda: None, lambda: path.symlink_to(path.name), lambda: path.symlink_to("/dev/null"))
    )()


MAKERS = (an_array, an_archive, lines, a_table)
DAMAGES: tuple[Callable[[Path, Random], None], ...] = (
    some_bytes,
    some_bytes,
    in_the_head,
    in_the_head,
    cut_short,
    more_at_the_end,
    rubbish,
    of_another_kind,
    no_file,
)
