"""After out-of-memory: run the failed part again in smaller parts, and nothing else.

Invariant: a part whose outputs were stored is never run again; no retry happens inside `except`; nothing of a
failed attempt is referenced when the next one starts, since of its error only text and a chain without
tracebacks is kept (a chained cause pins its frames too, and with them the tensors). Sizes halve, so a step
fails at most log2(rows) + 3 times: one row is tried again after caches were given back, and after garbage was
collected. Only where not even one row fits beside its siblings are the parts that were not stored run again,
once and one at a time: what they had computed until then is the memory that was missing, and is let go.

A call that failed is a second try where it began after a failure, with no more rows than had been learned
from that; garbage is collected after the first such one, once a step (`room.py`).

Rejected: restarting the whole batch at half the size (repeats finished work), retrying by recursion inside
the handler (pins one attempt a level), collecting garbage before the first retry (107 ms, and freed blocks
are back in the pool already).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from microbatch.cutting.cut import cut
from microbatch.errors import StepOutOfMemoryError, UnprovenError
from microbatch.extend.device import meaning_of
from microbatch.extend.records import FailureKind, MemoryReading
from microbatch.gathering.gather import Outputs
from microbatch.gathering.run_parts import Parts, run_parts
from microbatch.options.raised import name_of, text_of
from microbatch.step.finer_parts import size_at_once
from microbatch.step.outcome import Outcome
from microbatch.step.planned import Planned
from microbatch.step.room import Room
from microbatch.turns.kept_errors import without_frames

SUSPECTS = 3
"""Errors that may be memory in disguise are retried this often in a step, then raised."""


class Failed(Struct, frozen=True, kw_only=True):
    """What is kept of a failed attempt."""

    kind: FailureKind
    """OOM, SIZE or SUSPECT."""
    error: BaseException
    """The original error, its whole chain without tracebacks."""
    where: str
    """Text of the innermost frame of the original traceback."""


class Recovery:
    """The layer around the function of one step that runs a part again, in smaller parts, for its memory."""

    __slots__ = ("_function", "_limit", "_outcome", "_planned", "_room", "_suspects")

    def __init__(self, function: Callable[..., Any], planned: Planned, outcome: Outcome) -> None:
        self._room: dict[str, Room] = {}
        """What makes room, once memory ran out in this step."""
        self._function = function
        self._planned = planned
        self._outcome = outcome
        self._limit: int | None = None
        """Most rows of a part, learned from those that failed; None before the first failure."""
        self._suspects = 0

    @property
    def room(self) -> Room:
        """Makes room after a failure, in this step; made at the first one."""
        made = self._room.get("room")
        return made or self._room.setdefault("room", Room(self._planned.device.backend))

    def make_room(self, again: bool) -> None:
        """Give memory back; `again` says that a second try failed."""
        self.room.make(again)

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int, nested: bool = True) -> Any:
        """The outputs for these arguments, which hold `rows` rows.

        `nested` says that they go to another gather, which puts together what is kept rather than written.
        Raises StepOutOfMemoryError when one row alone does not fit.
        """
        limit = self._limit
        if limit is None or rows <= limit:
            try:
                outputs = self._function(*args, **kwargs)
            except Exception as error:
                failed = self._examine(error)
                if failed is None:
                    raise
            else:
                self._outcome.ran.append(rows)
                return outputs
            self._give_up_if_shared(failed)
            limit = self._shrink(rows, failed, again=limit is not None)
            self._check_cuttable(failed)
        return run_parts(self._parts(args, kwargs, limit, nested=nested), self.call)

    def may_go_on_alone(self, error: BaseException) -> bool:
        """Whether a step that ended so, with several parts in flight, may fit with one at a time."""
        planned = self._planned
        return meaning_of(planned.backend, error) is FailureKind.OOM and planned.ranks is None

    def go_on_alone(self) -> None:
        """Forget the limit, which was learned beside others, and give back what they cached."""
        self._limit = None
        self._outcome.one_at_a_time = True
        self.room.make(again=False)

    def _parts(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], limit: int, *, nested: bool) -> Parts:
        """These arguments as a batch of their own, in parts of at most `limit` rows."""
        binder = self._planned.cuttable.parts()
        batch = binder.bind(args, kwargs)
        most = min(size_at_once(batch.shape.num_tokens, limit), batch.shape.num_tokens)
        made = cut(batch.shape, splitter=binder.splitter, limit=most)
        outputs = Outputs(
            layout=binder.layout, nested=nested, proven=binder.outputs, make_room=self.make_room
        )
        return Parts(batch, made, self._planned.device.backend, outputs)

    def _examine(self, error: Exception) -> Failed | None:
        """What to keep of `error`, or None if it is not ours to retry."""
        kind = meaning_of(self._planned.device.backend, error)
        if kind is FailureKind.SUSPECT:
            self._suspects += 1
        if kind in (FailureKind.DEAD, FailureKind.OTHER) or self._suspects > SUSPECTS:
            return None
        return Failed(kind=kind, where=without_frames(error), error=error)

    def _shrink(self, rows: int, failed: Failed, *, again: bool) -> int:
        """Note that a part of `rows` rows failed; returns the most rows that may be tried next.

        One row is tried until cached memory was given back and garbage collected; `again` says that this was
        a second try.
        """
        self._outcome.failed.append(rows)
        nothing_left = failed.kind is FailureKind.SIZE or (again and self.room.collected)
        if rows < 2 and nothing_left:
            raise StepOutOfMemoryError(self._advice(failed)) from failed.error
        self._limit = limit = min(self._limit or rows, rows) // 2 or 1
        if (again or rows < 2) and failed.kind is not FailureKind.SIZE:
            self.room.make(again)
        return limit

    def _check_cuttable(self, failed: Failed) -> None:
        """Only what may be cut runs again in smaller parts; else running out of memory is the answer."""
        try:
            self._planned.cuttable.parts()
        except UnprovenError as error:
            raise StepOutOfMemoryError(
                f"memory ran out ({text_of(failed.error)}), and {error}"
            ) from failed.error

    def _give_up_if_shared(self, failed: Failed) -> None:
        """Other ranks may be inside a collective now; to run different parts than they do would hang them."""
        if self._planned.ranks is not None:
            where = f"memory ran out in a step that other ranks run too ({text_of(failed.error)})"
            raise StepOutOfMemoryError(
                f"{where}; running it again here alone would leave them waiting, so agree on a smaller "
                "max_tokens_per_ubatch on all ranks"
            ) from failed.error

    def _advice(self, failed: Failed) -> str:
        tried = ", ".join(str(size) for size in self._outcome.failed)
        reading = self._planned.device.backend.memory()
        what = text_of(failed.error) or name_of(failed.error)
        return (
            f"one row alone does not fit: {what} (at {failed.where}); "
            f"sizes tried: {tried}; {_bytes(reading)}; free memory held elsewhere, use a smaller dtype or "
            "shorter rows"
        )


def _bytes(reading: MemoryReading) -> str:
    return f"{reading.in_use:,} of {reading.capacity:,} bytes in use, {reading.usable:,} usable"
