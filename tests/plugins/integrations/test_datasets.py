"""`datasets.map` with a wrapper: the plain result, and a second run from its cache; `tox -e clusters`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import microbatch

datasets = pytest.importorskip("datasets", reason="datasets is not installed: tox -e clusters has it")
MOST = 9
"""Rows above which the functions here run out of memory."""


def counted(batch: Any) -> dict[str, list[int]]:
    """Letters of each text."""
    if len(batch["text"]) > MOST:
        raise MemoryError("too many rows")
    return {"letters": [len(text) for text in batch["text"]]}


def of_texts(count: int) -> Any:
    return datasets.Dataset.from_dict(
        {"text": ["x" * (row % 7) for row in range(count)], "row": list(range(count))}
    )


@pytest.fixture(autouse=True)
def no_bars() -> None:
    datasets.disable_progress_bars()


@pytest.mark.filterwarnings("ignore")  # forked workers of datasets
@pytest.mark.parametrize("processes", [None, 2])
def test_a_map_is_the_plain_map_where_memory_runs_out(processes: int | None) -> None:
    """One batch of all rows, of which the function can do nine at a time."""
    plain = of_texts(50).map(counted, batched=True, batch_size=MOST)
    wrapped = microbatch.wrap(counted)
    mapped = of_texts(50).map(wrapped, batched=True, batch_size=None, num_proc=processes)
    assert mapped.to_dict() == plain.to_dict()
    if processes is None:
        assert wrapped.last_report is not None and wrapped.last_report.oom_sizes


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=40),
    set_before=st.booleans(),
    parts=st.integers(1, 5),
)
def test_a_batch_is_cut_as_it_is(texts: list[str | None], set_before: bool, parts: int) -> None:
    """Columns of Arrow, columns that were read, and one that was set."""
    from datasets.formatting import get_formatter
    from datasets.formatting.formatting import LazyBatch

    table = datasets.Dataset.from_dict({"text": texts, "row": list(range(len(texts)))}).data.table
    batch = LazyBatch(table, get_formatter(None, lazy=True))
    if set_before:
        batch["row"] = [-row for row in batch["row"]]
        batch["more"] = list(texts)
        del batch["text"]
    column = "more" if set_before else "text"
    before = set(batch.keys_to_format)

    def function(batch: Any) -> Any:
        assert type(batch) is LazyBatch
        return {"row": batch["row"], "long": [text and text * 2 for text in batch[column]]}

    with microbatch.wrap(function, num_ubatches=parts) as wrapped:
        result = wrapped(batch)
    if wrapped.last_report is not None and len(wrapped.last_report.sizes) > 1:
        assert batch.keys_to_format == before, "the caller's batch was read"
    assert result == function(batch)


def test_a_batch_that_is_returned_is_joined() -> None:
    """The batch itself, as a function gives it back that changed nothing."""
    wrapped = microbatch.wrap(lambda batch: batch, num_ubatches=4)
    assert of_texts(50).map(wrapped, batched=True, batch_size=None).to_dict() == of_texts(50).to_dict()
    assert wrapped.last_report is not None and len(wrapped.last_report.sizes) == 4


def lengths(batch: Any) -> list[int]:
    return [len(text) for text in batch["text"]]


WAYS: dict[str, tuple[dict[str, Any], Any]] = {
    "indices": ({"with_indices": True}, lambda batch, rows: {"more": [row * 2 for row in rows]}),
    "rank": ({"with_rank": True}, lambda batch, rank: {"more": lengths(batch)}),
    "columns": ({"input_columns": ["text"]}, lambda texts: {"more": [len(text) for text in texts]}),
    "removed": ({"remove_columns": ["text"]}, lambda batch: {"more": lengths(batch)}),
    "given": (
        {"fn_kwargs": {"times": 3}},
        lambda batch, times: {"more": [one * times for one in lengths(batch)]},
    ),
    "all columns": ({}, lambda batch: {f"{name}-2": value for name, value in batch.items()}),
    "joined": ({}, lambda batch: batch | {"more": lengths(batch)}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_map_in_each_way_is_the_plain_one(way: str) -> None:
    options, function = WAYS[way]
    wrapped = microbatch.wrap(function, num_ubatches=3)
    given = {"batched": True, "batch_size": None, **options}
    assert of_texts(40).map(wrapped, **given).to_dict() == of_texts(40).map(function, **given).to_dict()
    assert wrapped.last_report is not None and len(wrapped.last_report.sizes) == 3


def test_a_filter_is_the_plain_one() -> None:
    wrapped = microbatch.wrap(lambda batch: [length > 3 for length in lengths(batch)], num_ubatches=3)
    kept = of_texts(40).filter(wrapped, batched=True, batch_size=None)
    assert kept["row"][:] == [row for row in range(40) if row % 7 > 3]


@pytest.mark.parametrize("kind", ["numpy", "pandas", "arrow"])
def test_batches_of_other_formats(kind: str) -> None:
    """These are arrays, a frame, a table."""
    functions: dict[str, Any] = {
        "numpy": lambda batch: {"more": batch["row"] * 2},
        "pandas": lambda batch: batch.assign(more=batch["row"] * 2),
        "arrow": lambda batch: batch.append_column("more", batch["row"]),
    }
    maps = [
        of_texts(40).with_format(kind).map(function, batched=True, batch_size=None)
        for function in (functions[kind], microbatch.wrap(functions[kind], num_ubatches=3))
    ]
    assert maps[0].to_dict() == maps[1].to_dict()


def test_a_function_that_writes_into_its_batch_is_not_cut() -> None:
    """As parts are copies, what is written into them would be lost."""

    def writing(batch: Any) -> Any:
        batch["letters"] = [len(text) for text in batch["text"]]
        return {"more": batch["row"]}

    plain = of_texts(50).map(writing, batched=True, batch_size=None).to_dict()
    wrapped = microbatch.wrap(writing, num_ubatches=2)
    with pytest.warns(UserWarning, match="it writes into a list or a table"):
        mapped = of_texts(50).map(wrapped, batched=True, batch_size=None).to_dict()
    assert mapped == plain and "letters" in mapped


SCRIPT = """
import sys
import datasets
import numpy as np
import microbatch

datasets.disable_progress_bars()
TIMES = {times}

@microbatch.wrap(verify="never"{options})
def decorated(batch):
    open("calls", "a").write("d")
    return {{"one": np.array([len(text) * TIMES for text in batch["text"]])}}

def plain(batch):
    open("calls", "a").write("p")
    return {{"two": np.array([len(text) * TIMES for text in batch["text"]])}}

class Counter:
    def __init__(self, more):
        self.more = more
    @microbatch.wrap(num_ubatches=2, verify="never")
    def count(self, batch):
        open("calls", "a").write("m")
        return {{"three": np.array([len(text) * TIMES for text in batch["text"]]) + self.more}}

if __name__ == "__main__":
    rows = datasets.load_from_disk("rows")
    wrapped = microbatch.wrap(plain, verify="never", num_ubatches=3)
    for function in (decorated, wrapped, Counter(5).count):
        rows = rows.map(function, batched=True, batch_size=None, num_proc={processes})
    print([rows[2][name] for name in ("one", "two", "three")])
"""


def run(folder: Path, **given: Any) -> tuple[list[int], str]:
    """The values of row 2 that a script prints in a new process, and who was called."""
    values = {"times": 1, "options": "", "processes": 2, **given}
    (folder / "script.py").write_text(SCRIPT.format(**values))
    (folder / "calls").write_text("")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "script.py"],
        capture_output=True,
        cwd=folder,
        timeout=120,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), (folder / "calls").read_text()


def test_a_second_run_is_served_from_the_cache(tmp_path: Path) -> None:
    """In a new process, a decorated function and method of a script too; not after an edit."""
    of_texts(20).save_to_disk(tmp_path / "rows")
    values, calls = run(tmp_path)
    assert values == [2, 2, 7] and {"d", "p", "m"} == set(calls)
    assert run(tmp_path) == (values, "")
    (tmp_path / "microbatch.toml").write_text('\n\nsplitter = "even"\n')
    moved, _ = run(tmp_path)
    (tmp_path / "microbatch.toml").write_text('splitter = "even"\n')
    assert run(tmp_path) == (moved, ""), "the same option, on another line"
    (tmp_path / "microbatch.toml").unlink()
    assert run(tmp_path, times=2)[0] == [4, 4, 9], "an edited script"
