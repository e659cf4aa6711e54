"""Tell the caller's function how far a step is, as its ubatches end in whatever thread and order.

Invariant: a part is counted once, at a cost that does not grow with their number. One thread at a time tells,
and it tells the latest count, so counts only grow; who ends a part meanwhile leaves its count there and goes
on. What the function raises is told once, when the step is over, and the function is not called again in that
step. An interrupt in it is an interrupt of the step. Who may tell is one `dict.setdefault`, undone by
whoever it was for, so a thread that is interrupted at any bytecode leaves it free.

Steps of one wrapper that run at the same time, in several threads, share that claim: who tells of one of them
tells of the others too, if need be a moment after they returned. A step inside of a step of the same wrapper
is not told of: its rows are rows of the step around it.

Rejected: a lock (an interrupted thread could keep it), waiting for one's turn to tell (a function that shows
something slowly would hold up the step), a sum over all parts at each (60,000 parts took 13 times as long).
"""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal, TypeVar

from microbatch.errors import warn
from microbatch.options.raised import note
from microbatch.turns.runtime import Runtime

if TYPE_CHECKING:
    from microbatch.step.bars import StepBar

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""progress(requests done, requests in all), called as ubatches end, from a thread that ran one."""


class StepCount:
    """The requests of one step that are done. Any thread may add; who has the claim reads."""

    __slots__ = ("_added", "_counted", "_telling", "bar", "ended", "over", "told", "total")

    def __init__(self, telling: Telling) -> None:
        self.total = 0
        """Requests in all."""
        self.told = 0
        """The count that was told last."""
        self.over = False
        """Whether there is nothing more to tell: the step failed, or the function raised."""
        self.ended = False
        """Whether the step is over, so that its bar goes."""
        self.bar = telling.bar()
        """The bar of this step, where there is one."""
        self._telling = telling
        self._added: list[int] = []
        self._counted = 0, 0

    def add(self, requests: int) -> None:
        """So many more are done: tell. Where a step is run again, whole, they may come a second time."""
        self._added.append(requests)  # atomic: threads that end parts at once lose none
        self._telling.tell(self)

    def done(self) -> int:
        """All that were added so far; each entry is looked at once."""
        entries, done = self._counted
        new = self._added[entries:]
        done = min(self.total, done + sum(new))
        self._counted = entries + len(new), done  # one store, which no interrupt can cut in two
        return done


class Around:
    """A step that the calling code is inside of; emptied when it ends, in all copies of the variable."""

    __slots__ = ("telling",)

    def __init__(self, telling: Telling) -> None:
        self.telling: Telling | None = telling


AROUND: ContextVar[tuple[Around, ...]] = ContextVar("microbatch_steps_told", default=())
"""The steps that are told of and that the calling code is inside of."""


class Telling:
    """Tells one function of the steps of one wrapper."""

    def __init__(self, progress: Progress | Literal[True], runtime: Runtime) -> None:
        """`progress` is True for a bar."""
        self._progress = progress
        self._runtime = runtime
        self._news: deque[StepCount] = deque()
        """Steps of which there may be something to tell; only who has the claim takes them out."""
        self._claim: dict[int, object] = {}
        """Process -> who tells in it: a forked child has not the thread that told in its parent."""
        self._errors: deque[str] = deque()

    def bar(self) -> StepBar | None:
        """A bar for one step; None where a function is told."""
        if self._progress is not True:
            return None
        from microbatch.step.bars import StepBar

        return StepBar(self._runtime.monotonic)

    def around(self, step: Callable[[StepCount | None], Result]) -> Result:
        """What `step` returns, given what to count it in; None inside of another step of this wrapper.

        Warns, when it has ended well, of what the function raised. The error of a step that failed has a
        note.
        """
        before = AROUND.get()
        if any(outer.telling is self for outer in before):
            return step(None)
        here, count = Around(self), StepCount(self)
        try:
            try:
                AROUND.set((*before, here))
                result = step(count)
            finally:
                here.telling = None
        except BaseException as error:
            here.telling = None  # again: an interrupt may have come just before the first one
            count.over = True
            for text in self._texts():
                note(error, text)
            raise
        finally:
            AROUND.set(before)
            if count.bar is not None:
                count.ended = True
                self.tell(count)
        for text in self._texts():
            with suppress(RuntimeWarning):  # where warnings are errors
                warn(text, RuntimeWarning)
        return result

    def tell(self, count: StepCount) -> None:
        """Tell how far a step is, unless another thread tells just now: then that one will."""
        self._news.append(count)
        self._runtime.point("counted")
        place = object()
        while self._news and self._tells(place):
            self._runtime.point("told")  # what came while the claim was given up was left to us

    def _tells(self, place: object) -> bool:
        """Tell all there is to tell; False where somebody else does just now."""
        process = os.getpid()
        try:
            try:
                return self._tell_all(process, place)
            finally:
                self._give_up(process, place)
        finally:
            self._give_up(process, place)  # again: an interrupt may have come just before the first one

    def _give_up(self, process: int, place: object) -> None:
        """Let others tell, if it was `place` that did."""
        if self._claim.get(process) is place:
            del self._claim[process]

    def _tell_all(self, process: int, place: object) -> bool:
        if self._claim.setdefault(process, place) is not place:
            return False
        while self._news:
            self._tell(self._news[0])
            with suppress(IndexError):  # a child that was forked in the function has taken it out
                self._news.popleft()
        self._runtime.point("all told")
        return True

    def _tell(self, count: StepCount) -> None:
        if count.ended and count.bar is not None:
            with suppress(Exception):
                count.bar.close()
            return
        done = count.done()
        if count.over or done <= count.told:
            return
        count.told = done
        try:
            show = self._progress if count.bar is None else count.bar
            show(done, count.total)  # type: ignore[operator]  # True has a bar
        except Exception as error:  # noqa: BLE001 - told when the step is over
            count.over = True
            self._errors.append(_text_of(error))

    def _texts(self) -> Iterator[str]:
        with suppress(IndexError):  # another step's thread may take the last one
            while True:
                yield self._errors.popleft()


def _text_of(error: Exception) -> str:
    """What to tell of an error of the function; no frame of it is kept."""
    what = "".join(traceback.format_exception_only(error)).strip()
    last = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"progress raised {what} (at {last.filename}:{last.lineno}), so it was not called again in this "
        "step, whose result is as it would be without it; make it raise nothing"
    )
