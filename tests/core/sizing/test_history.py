"""The history file: what was saved comes back, several writers share it, and damage never breaks a run."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microbatch.host.forks import FORKS
from microbatch.sizing.history import MOST_ENTRIES, SCHEMA, History, HistoryKey
from microbatch.sizing.transactions import TRANSACTIONS
from microbatch.turns.runtime import ThreadRuntime
from tests.support.damaged_history import everything_in
from tests.support.interrupts import Interrupt, in_thread_of_its_own

STATES = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(1 - 2**63, 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
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
        "    History(sys.argv[1], limit=60.0).save(key, {'n': n})\n"
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
        "    History(sys.argv[1], limit=60.0).save(key, {'who': sys.argv[2], 'n': n, 'long': [n] * 500})\n"
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
        "    History(sys.argv[1], limit=60.0).save(key, {'n': n, 'long': [n] * 5000})\n"
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


def _of_an_earlier_version(path: Path) -> None:
    """As version 2 of the format made it."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "create table if not exists learned (\n    key text primary key, fields text not null, state text"
            " not null,\n    changed text not null default (strftime('%Y-%m-%d %H:%M:%f', 'now'))\n)\n"
        )
        text = key(schema=2).text()
        connection.execute("insert into learned (key, fields, state) values (?, ?, '{}')", (text, text))
    connection.close()


@pytest.mark.bad_input(65)
@pytest.mark.parametrize("spoil", [_directory, _foreign, _damaged_row, _of_an_earlier_version])
def test_65_a_path_that_cannot_be_used_is_one_warning(spoil: Any, tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    spoil(path)
    before = everything_in(tmp_path)
    history = History(path)
    with pytest.warns(RuntimeWarning, match="learned anew"):
        assert history.load(key()) is None
    history.save(key(), {"a": 1})  # a second warning would be an error here
    assert history.load(key()) is None
    assert everything_in(tmp_path) == before


def _another_user(path: Path, patch: pytest.MonkeyPatch) -> None:
    stranger = os.geteuid() + 1
    patch.setattr(os, "geteuid", lambda: stranger)


def _others_may_write(path: Path, patch: pytest.MonkeyPatch) -> None:
    path.chmod(0o620)


def _empty(path: Path, patch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"")


def _link(path: Path, patch: pytest.MonkeyPatch) -> None:
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def _another_number(path: Path, patch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()


@pytest.mark.bad_input(65)
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_another_user, "it belongs to another user"),
        (_others_may_write, "others may write it, its mode is 0620"),
        (_empty, "it has 0 bytes, as no history has"),
        (_link, "it is a symbolic link"),
        (_another_number, f"its format has the number 99, this version has {SCHEMA}"),
    ],
)
def test_65_why_a_file_is_not_used_is_told(
    spoil: Any, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sizes.db"
    History(path).save(key(), {"a": 1})
    spoil(path, monkeypatch)
    before = everything_in(tmp_path)
    for use in (lambda history: history.load(key()), lambda history: history.save(key(), {"a": 2})):
        with pytest.warns(RuntimeWarning, match=re.escape(f"cannot be used ({why})")):
            use(History(path))
    assert everything_in(tmp_path) == before


def test_a_file_that_may_only_be_read_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    History(path).save(key(), {"a": 1})
    path.chmod(0o400)
    before, history = everything_in(tmp_path), History(path)
    assert history.load(key()) == {"a": 1}
    with pytest.warns(RuntimeWarning, match="it is read-only"):
        history.save(key(), {"a": 2})
    assert everything_in(tmp_path) == before


def test_a_new_file_is_for_its_user_alone_and_keeps_the_mode_that_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    History(path).save(key(), {"a": 1})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    History(path).save(key(), {"a": 2})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["sizes.db"], "something was left beside it"


def test_a_file_that_is_gone_or_another_one_meanwhile(tmp_path: Path) -> None:
    """Each use looks anew."""
    path, other = tmp_path / "sizes.db", tmp_path / "other.db"
    history = History(path)
    history.save(key(), {"a": 1})
    path.unlink()
    assert history.load(key()) is None
    history.save(key("n"), {"a": 2})
    assert history.load(key("n")) == {"a": 2} and history.load(key()) is None
    History(other).save(key(), {"a": 3})
    other.replace(path)
    assert history.load(key()) == {"a": 3}
    path.write_text("a text, which is not ours")
    with pytest.warns(RuntimeWarning, match="file is not a database"):
        history.save(key(), {"a": 4})
    assert path.read_text() == "a text, which is not ours"


def test_a_relative_path_is_meant_from_where_the_history_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    history = History("sizes.db")
    monkeypatch.chdir(tmp_path / "two")
    history.save(key(), {"a": 1})
    assert (tmp_path / "one" / "sizes.db").exists()
    assert history.load(key()) == {"a": 1}
    assert str(history.path) == "sizes.db"


def test_where_there_are_no_links_a_new_file_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*given: Any) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    history = History(tmp_path / "sizes.db")
    history.save(key(), {"a": 1})
    assert history.load(key()) == {"a": 1}


def test_who_writes_while_another_does_waits_and_then_gives_up(tmp_path: Path) -> None:
    """What was there stays, one warning says so, and the next time it is written."""
    path = tmp_path / "sizes.db"
    history = History(path, limit=0.05)
    history.save(key(), {"a": 1})
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert history.load(key()) == {"a": 1}, "who reads needs no lock"
        with pytest.warns(RuntimeWarning, match=re.escape("others have been writing it for 0.05 s")):
            history.save(key(), {"a": 2})
        history.save(key(), {"a": 3})  # a second warning would be an error here
        assert history.load(key()) == {"a": 1}
    history.save(key(), {"a": 4})
    assert history.load(key()) == {"a": 4}


class Hasty(ThreadRuntime):
    """A clock that has an hour pass each time it is looked at more often than `calls`."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def monotonic(self) -> float:  # type: ignore[override]
        self.calls -= 1
        return 0.0 if self.calls >= 0 else 3600.0 * -self.calls


def large(path: Path) -> None:
    """A history of a thousand entries, which takes many looks at the time."""
    History(path).save(key(), {"a": 1})
    with sqlite3.connect(path) as connection:
        insert = "insert into learned (key, fields, state) values (?, '{}', '{}')"
        connection.executemany(insert, [(str(number),) for number in range(1000)])
    connection.close()


def test_reading_and_writing_end_with_their_time(tmp_path: Path) -> None:
    """However large the file is, and wherever in its work the time ends."""
    path = tmp_path / "sizes.db"
    history = History(path)
    history.save(key(), {"a": 1})
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "insert into learned (key, fields, state) values (?, '{}', '{}')",
            [(str(n),) for n in range(1000)],
        )
    connection.close()
    before = everything_in(tmp_path)
    outcomes = set()
    for calls in range(1, 400):
        late = History(path, runtime=Hasty(calls))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = late.load(key())
        assert found == (None if told else {"a": 1})
        assert all("it takes longer than 0.2 s" in str(warning.message) for warning in told)
        outcomes.add(bool(told))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            History(path, runtime=Hasty(calls)).save(key(), {"a": 1})
        if told:
            assert everything_in(tmp_path) == before
        else:
            before = everything_in(tmp_path)
        if found is not None and not told:
            break
    assert outcomes == {True, False}


class Interrupted(ThreadRuntime):
    """A clock that Ctrl-C strikes at, the time after `calls` times."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def monotonic(self) -> float:  # type: ignore[override]
        self.calls -= 1
        if self.calls == -1:
            raise KeyboardInterrupt
        return 0.0


def test_an_interrupt_while_a_history_is_read_or_written_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "sizes.db"
    large(path)
    before, calls = everything_in(tmp_path), 0
    for calls in range(200):
        history = History(path, runtime=Interrupted(calls))
        try:
            assert history.load(key()) == {"a": 1}
            history.save(key(), {"a": 1})
        except KeyboardInterrupt:
            assert everything_in(tmp_path).keys() == before.keys(), "something was left beside it"
        else:
            break
    assert 3 < calls < 199


NO_STATES: tuple[Any, ...] = (
    {"a": float("nan")}, {"a": [float("inf")]}, {"a": 2**63}, {"a": -(2**63)}, {"a": "x" * (1 << 20)},
    {"a": {1, 2}}, {"a": object()}, {"a": np.float32(1)},
)  # fmt: skip


def nested(levels: int) -> dict[str, Any]:
    return {} if levels == 0 else {"a": nested(levels - 1)}


@pytest.mark.parametrize("state", [*NO_STATES, nested(40)])
def test_what_may_not_be_kept_is_told_and_never_written(state: Any, tmp_path: Path) -> None:
    history = History(tmp_path / "sizes.db")
    with pytest.warns(RuntimeWarning, match="policy 'auto'"):
        history.save(key(), state)
    assert list(tmp_path.iterdir()) == []


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


def test_a_child_forked_in_the_middle_of_a_transaction_leaves_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whatever file, by another thread: what SQLite locks for the process nobody unlocks in the child."""
    begun, over = threading.Event(), threading.Event()
    other, own = History(tmp_path / "other.db"), History(tmp_path / "own.db")
    for history in (other, own):
        history.save(key(), {"size": 3})
    connect = sqlite3.connect

    def slow(*args: Any, **options: Any) -> Any:
        begun.set()
        assert over.wait(30)
        return connect(*args, **options)

    monkeypatch.setattr(sqlite3, "connect", slow)
    thread = threading.Thread(target=lambda: other.load(key()))
    thread.start()
    assert begun.wait(30)
    monkeypatch.setattr(sqlite3, "connect", connect)
    with monkeypatch.context() as child:
        child.setattr(FORKS, "count", FORKS.count + 1)
        child.setattr(sqlite3, "connect", lambda *args, **options: pytest.fail("SQLite was asked"))
        with pytest.warns(RuntimeWarning, match="another thread when this process was forked"):
            assert History(own.path).load(key()) is None
    over.set()
    thread.join(30)
    assert own.load(key()) == {"size": 3}
    with monkeypatch.context() as child:
        child.setattr(FORKS, "count", FORKS.count + 1)
        assert own.load(key()) == {"size": 3}  # nothing was under way


@in_thread_of_its_own
def test_a_transaction_that_was_interrupted_is_not_under_way_any_more(tmp_path: Path) -> None:
    history, kept = History(tmp_path / "sizes.db"), list[BaseException]()
    for at in range(1, 400, 3):
        interrupt = Interrupt(at, ("sizing/history.py", "sizing/transactions.py"))
        try:
            with interrupt:
                history.load(key())
        except KeyboardInterrupt as error:
            kept[:] = [error]
        assert not TRANSACTIONS._under_way, f"bytecode {at}"
        if interrupt.seen < at:
            break
    assert at > 50
