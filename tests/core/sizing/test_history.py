"""The history file: what was saved comes back, several writers share it, and damage never breaks a run."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.sizing.history import MOST_ENTRIES, SCHEMA, History, HistoryKey

STATES = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def key(model: str = "m", **fields: Any) -> HistoryKey:
    return HistoryKey(
        **{"model": model, "policy": "auto", "backend": "cpu", "capacity": 8, "workers": 2, **fields}
    )


@given(states=st.lists(st.tuples(st.sampled_from("abc"), STATES), max_size=5))
def test_the_last_state_saved_for_a_key_is_the_one_loaded(
    states: list[tuple[str, dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    history = History(tmp_path_factory.mktemp("history") / "sizes.db")
    model: dict[str, Any] = {}
    for name, state in states:
        history.save(key(name), state)
        model[name] = state
    for name in "abc":
        assert History(history.path).load(key(name)) == model.get(name)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"policy": "latency"},
        {"capacity": 9},
        {"device": "x"},
        {"backend": "x"},
        {"workers": 1},
        {"graphs": True},
        {"versions": "v"},
        {"schema": SCHEMA + 1},
    ],
)
def test_another_machine_or_version_finds_nothing(change: dict[str, Any], tmp_path: Path) -> None:
    history = History(tmp_path / "sizes.db")
    history.save(key(), {"a": 1})
    assert history.load(key(**change)) is None


def test_several_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    program = (
        "import sys\nfrom microbatch.sizing.history import History, HistoryKey\n"
        "for n in range(20):\n"
        "    key = HistoryKey(model=f'{sys.argv[2]}-{n}', policy='p', backend='cpu', capacity=1, workers=1)\n"
        "    History(sys.argv[1]).save(key, {'n': n})\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", program, str(path), name]) for name in "abc"
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    assert len(History(path).entries()) == 60


def test_several_processes_write_one_key(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    program = (
        "import sys\nfrom microbatch.sizing.history import History, HistoryKey\n"
        "key = HistoryKey(model='m', policy='p', backend='cpu', capacity=1, workers=1)\n"
        "for n in range(20):\n"
        "    History(sys.argv[1]).save(key, {'who': sys.argv[2], 'n': n, 'long': [n] * 500})\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", program, str(path), name]) for name in "ab"
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    state = History(path).load(key(policy="p", capacity=1, workers=1))
    assert state is not None and state["who"] in "ab" and state["long"] == [19] * 500


def test_a_writer_that_is_killed_leaves_a_whole_state(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    program = (
        "import itertools, sys\nfrom microbatch.sizing.history import History, HistoryKey\n"
        "key = HistoryKey(model='m', policy='p', backend='cpu', capacity=1, workers=1)\n"
        "for n in itertools.count():\n"
        "    History(sys.argv[1]).save(key, {'n': n, 'long': [n] * 5000})\n"
        "    print(n, flush=True)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) == 10:
            writer.kill()
            break
    writer.stdout.close()
    writer.wait(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        state = History(path).load(key(policy="p", capacity=1, workers=1))
    assert state is not None and state["n"] >= 10 and state["long"] == [state["n"]] * 5000


def _directory(path: Path) -> None:
    path.mkdir()


def _foreign(path: Path) -> None:
    path.write_bytes(b"this is not a database, but it is long enough to look at" * 40)


def _damaged_row(path: Path) -> None:
    History(path).save(key(), {"a": 1})
    with sqlite3.connect(path) as connection:
        connection.execute("update learned set state = '{cut'")
    connection.close()


@pytest.mark.bad_input(65)
@pytest.mark.parametrize("spoil", [_directory, _foreign, _damaged_row])
def test_65_a_path_that_cannot_be_used_is_one_warning(spoil: Any, tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    spoil(path)
    history = History(path)
    with pytest.warns(RuntimeWarning, match="learned anew"):
        assert history.load(key()) is None
    history.save(key(), {"a": 1})  # a second warning would be an error here
    assert history.load(key()) is None


def test_clear_forgets_one_model_or_all(tmp_path: Path) -> None:
    history = History(tmp_path / "sizes.db")
    for name in ("a", "a", "b"):
        history.save(key(name, workers=len(history.entries()) + 1), {"x": 1})
    assert history.clear("a") == 2
    assert [entry.fields["model"] for entry in history.entries()] == ["b"]
    assert history.clear() == 1
    assert history.entries() == ()


def test_the_oldest_entries_go_when_there_are_too_many(tmp_path: Path) -> None:
    history = History(tmp_path / "sizes.db")
    history.save(key("old"), {"x": 1})
    with sqlite3.connect(history.path) as connection:
        connection.execute("update learned set changed = '2000-01-01'")
        connection.executemany(
            "insert into learned (key, fields, state) values (?, ?, '{}')",
            [(str(n), json.dumps({"model": n})) for n in range(MOST_ENTRIES)],
        )
    connection.close()
    history.save(key("new"), {"x": 1})
    assert len(history.entries()) == MOST_ENTRIES
    assert history.load(key("old")) is None
    assert history.load(key("new")) == {"x": 1}
