"""The one way in which every bad input is refused, asked of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from microbatch.errors import MicrobatchError

__all__ = ["refused", "started_threads"]

BUILTINS = (ValueError, TypeError, LookupError, RuntimeError, OSError, MemoryError)


def refused(
    bad: Callable[[], Any], kind: type[MicrobatchError], told: Sequence[str], good: Callable[[], Any]
) -> str:
    """`bad` raises `kind`, with all of `told` in its text and before any thread is started; then `good`
    works.

    Returns the text. `kind` is ours and also the builtin that a caller would catch; the text is one sentence
    in lower case that says what to do.
    """
    with started_threads() as started, pytest.raises(MicrobatchError) as caught:
        bad()
    error, text = caught.value, str(caught.value)
    assert type(error) is kind, repr(error)
    assert isinstance(error, BUILTINS)
    assert [words for words in told if words not in text] == [], text
    assert not text[0].isupper() and "\n" not in text, text
    assert started == [], "a thread was started for nothing"
    good()
    return text


class started_threads:
    """The threads started while it is open."""

    def __enter__(self) -> list[threading.Thread]:
        started: list[threading.Thread] = []
        start = threading.Thread.start

        def noted(thread: threading.Thread) -> None:
            started.append(thread)
            start(thread)

        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(threading.Thread, "start", noted)
        return started

    def __exit__(self, *exc_info: object) -> None:
        self._patch.undo()
