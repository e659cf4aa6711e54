"""`microbatch.record()`: a block whose steps are seen, and what is made of what was seen.

Invariant: what a timeline shows is what has ended when it is asked. It holds numbers and texts, and until it
is asked or its block ends events of a device; no array.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextvars import Token
from pathlib import Path
from typing import Self

import msgspec

from microbatch.errors import ArgumentValueError
from microbatch.timeline.bars import Bar, SeenStep
from microbatch.timeline.chrome import chrome_trace
from microbatch.timeline.doctor import diagnose, this_process
from microbatch.timeline.finding import Diagnosis
from microbatch.timeline.page import page_of
from microbatch.timeline.recording import MOST_BARS, RECORDING, Recording
from microbatch.timeline.summary import Summary, summary_of
from microbatch.turns.runtime import Runtime, default_runtime


class Timeline:
    """The steps that the code of a `with` block called, in its thread and in threads with its context.

    `most_bars` bounds what is kept; `runtime` is the clock, for tests. A block inside of another is seen by
    the inner one alone.
    """

    def __init__(self, most_bars: int = MOST_BARS, runtime: Runtime | None = None) -> None:
        self._recording = Recording(most_bars)
        self._clock = (runtime or default_runtime()).monotonic
        self._tokens: list[Token[Recording | None]] = []
        self._environment: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._environment = dict(os.environ)
        self._tokens.append(RECORDING.set(self._recording))
        return self

    def __exit__(self, *error: object) -> None:
        RECORDING.reset(self._tokens.pop())
        if error[0] is None:
            self._recording.bars(self._clock)  # a device's events are let go

    @property
    def bars(self) -> Sequence[Bar]:
        """All phases that have ended, by their start; waits for the device where work on it was recorded."""
        return self._recording.bars(self._clock)

    @property
    def steps(self) -> Sequence[SeenStep]:
        """The steps that have ended, by their number."""
        return sorted(self._recording.steps, key=lambda step: step.number)

    @property
    def left_out(self) -> int:
        """Bars that were not kept, as there were more than `most_bars`."""
        return self._recording.left_out

    def summary(self) -> Summary:
        """How much communication lies under compute, who was idle, where the critical path lies."""
        return summary_of(self.bars, self.steps, self.left_out)

    def doctor(self) -> Diagnosis:
        """Why there was no overlap or no gain, with what was measured and what to do.

        May copy 32 MiB a few times, to see how fast that is.
        """
        return diagnose(self.bars, self.steps, this_process(self._environment, self._clock))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it for Perfetto and chrome://tracing (`.json`), or as a page of its own (`.html`).

        Raises ArgumentValueError for another ending, OSError where the file cannot be written.
        """
        place = Path(path)
        check_ending(place)
        if place.suffix.lower() == ".json":
            place.write_bytes(msgspec.json.encode(chrome_trace(self.bars, self.left_out)))
        else:
            page = page_of(self.bars, self.summary()._repr_html_(), self.doctor()._repr_html_())
            place.write_text(page, "utf-8")

    def __repr__(self) -> str:
        return f"<timeline of {len(self._recording.steps):,} steps>"


def check_ending(place: Path) -> None:
    """Raise ArgumentValueError for a file that a timeline cannot be saved as."""
    if place.suffix.lower() not in (".json", ".html"):
        raise ArgumentValueError(
            f"a timeline cannot be saved as {place.name!r}; name a file that ends in .json or .html"
        )


def record(most_bars: int = MOST_BARS) -> Timeline:
    """A block whose steps are recorded: `with microbatch.record() as seen:`, then `seen.summary()`.

    Start and end of each phase of each ubatch are kept, in every thread of the steps that the block calls, up
    to `most_bars` of them; on devices as their events tell, where the backend has such. Outside of such
    blocks nothing is recorded, and a step pays 0.4 us for asking.
    """
    return Timeline(most_bars)
