"""A file that comes between the look at a history and its replacement is not lost, whenever it comes."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from microbatch.sizing import exchange, history_file
from microbatch.sizing.history import History, HistoryKey

KEY = HistoryKey(model="m", policy="p", backend="cpu", capacity=1, workers=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history with one state."""
    made = tmp_path / "sizes.db"
    History(made).save(KEY, {"n": 1})
    return made


def put_foreign(path: Path) -> None:
    """Somebody else puts a file of his own there, as programs do: by renaming."""
    other = path.with_name("other")
    other.write_text("foreign")
    other.replace(path)


@pytest.mark.parametrize("moment", ["chmod", "exchange"])
def test_a_foreign_file_that_comes_at_the_last_moment_stays(
    moment: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the file was checked and locked, and just before the names change places."""
    place, name = (os, "chmod") if moment == "chmod" else (history_file, "exchange")
    came: list[str] = []

    def late(before: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            if not came:
                came.append("foreign")
                put_foreign(path)
            return before(*given)

        return call

    monkeypatch.setattr(place, name, late(getattr(place, name)))
    with pytest.warns(RuntimeWarning, match="file is not a database"):
        History(path).save(KEY, {"n": 2})
    assert path.read_text() == "foreign"
    assert [each.name for each in path.parent.iterdir()] == ["sizes.db"]


def test_a_foreign_file_goes_back_where_its_place_was_taken_away_meanwhile(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two changes of names."""
    if not exchange.exchange(str(path), str(path)):
        pytest.skip("names cannot change places on this system")
    calls: list[int] = []

    def meddling(one: str, other: str) -> bool:
        calls.append(1)
        if len(calls) == 1:
            put_foreign(path)
        if len(calls) == 2:
            path.unlink()
        return exchange.exchange(one, other)

    monkeypatch.setattr(history_file, "exchange", meddling)
    with pytest.warns(RuntimeWarning, match="file is not a database"):
        History(path).save(KEY, {"n": 2})
    assert path.read_text() == "foreign"
    assert [each.name for each in path.parent.iterdir()] == ["sizes.db"]


def test_a_history_that_is_taken_away_at_the_last_moment_is_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had not been there."""
    before = history_file.exchange

    def meddling(one: str, other: str) -> bool:
        path.unlink(missing_ok=True)
        return before(one, other)

    monkeypatch.setattr(history_file, "exchange", meddling)
    History(path).save(KEY, {"n": 2})
    assert History(path).load(KEY) == {"n": 2}
    assert [each.name for each in path.parent.iterdir()] == ["sizes.db"]


class NoLibrary:
    """A C library without that function."""

    def __init__(self, *given: Any, **named: Any) -> None: ...


@pytest.mark.parametrize("why", ["no function", "refused"])
def test_where_names_cannot_change_places_a_history_is_replaced_all_the_same(
    why: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another system, another file system, or in a sandbox."""
    if why == "no function":
        monkeypatch.setattr(ctypes, "CDLL", NoLibrary)
    else:
        monkeypatch.setattr(exchange, "_renameat2", lambda: lambda *given: -1)
        monkeypatch.setattr(ctypes, "get_errno", lambda: errno.EINVAL)
    History(path).save(KEY, {"n": 2})
    assert History(path).load(KEY) == {"n": 2}
    put_foreign(path)
    with pytest.warns(RuntimeWarning):
        History(path).save(KEY, {"n": 3})
    assert path.read_text() == "foreign"


def test_another_failure_of_the_exchange_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or a folder that is read-only now."""
    monkeypatch.setattr(exchange, "_renameat2", lambda: lambda *given: -1)
    monkeypatch.setattr(ctypes, "get_errno", lambda: errno.EROFS)
    with pytest.warns(RuntimeWarning, match="Read-only file system"):
        History(path).save(KEY, {"n": 2})
    assert History(path).load(KEY) == {"n": 1}
    assert [each.name for each in path.parent.iterdir()] == ["sizes.db"]
