"""`--timeline FILE`: the steps of a command, recorded and saved.

Invariant: whether the file can be written is found before anything is run. What was recorded is saved where
the command failed too, as that is when one looks at it; that it cannot be written is not told then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from microbatch.files.places import check_place, writing

ENDINGS = (".html", ".json")

TimelineFile = Annotated[
    Path | None,
    typer.Option(
        "--timeline",
        help="Write what ran when: .html for a page, .json for Perfetto and chrome://tracing.",
        readable=False,
    ),
]


def check_timeline(path: Path | None) -> None:
    """Raise OutputFileError where it cannot be written."""
    if path is not None:
        check_place(path, ENDINGS, "drawn as a timeline")


@contextmanager
def recorded(path: Path | None) -> Iterator[None]:
    """Record the steps of the block into `path`; nothing for None."""
    if path is None:
        yield
        return
    from microbatch.timeline.timeline import record  # only where it is asked for

    seen = record()
    try:
        with seen:
            yield
    except BaseException:
        try:
            seen.save(path)
        except Exception:  # noqa: BLE001, S110 - what came first is what is told
            pass
        raise
    with writing(path, "choose another place"):
        seen.save(path)
