"""After out-of-memory: run the failed part again in smaller parts, and nothing else.

Invariant: a ubatch whose outputs were stored is never run again; no retry happens inside `except`; nothing of a failed
attempt is referenced when the next one starts, since of its error only text and a chain without tracebacks is kept (a
chained cause pins its frames too, and with them the tensors). Sizes halve, so a step fails at most log2(rows) + 1 times.
Only where not even one row fits beside its siblings are the ubatches that were not stored run again, once and one at a
time: what they had computed until then is the memory that was missing, and is let go.

Rejected: restarting the whole batch at half the size (repeats finished work), retrying by recursion inside the
handler (pins one attempt a level), collecting garbage before the first retry (107 ms, and freed blocks are back in
the pool already).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from microbatch.binding.batch import Batch, Layout, bind
from microbatch.cutting.cut import Cut, cut
from microbatch.errors import StepOutOfMemoryError
from microbatch.extend.abilities import SupportsProcessGroup
from microbatch.extend.protocols import Backend
from microbatch.extend.records import FailureKind, MemoryReading
from microbatch.gathering.gather import Gather
from microbatch.step.memory_guard import Watch

__all__ = ["Failed", "Recovery", "strip_tracebacks"]

SUSPECTS = 3
"""Errors that may be memory in disguise are retried this often in a step, then raised."""
SHARE_OF_PILOT = 16
"""The parts of a pilot double up to this part of its rows: a larger one would be half of the result, copied twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """What is kept of a failed attempt."""

    kind: FailureKind
    """OOM, SIZE or SUSPECT."""
    error: BaseException
    """The original error, its whole chain without tracebacks."""
    where: str
    """Text of the innermost frame of the original traceback."""


class Recovery:
    """Calls the function for the ubatches of one step, in smaller parts once memory has run out.

    `alone` says whether the step went on one part at a time, `bound` is the most rows of a part that a memory guard
    allows, `limit` what running out of memory has taught, `sizes` the attempts that failed and `ran` the parts that finished where ubatches were cut further.
    """

    __slots__ = (
        "_backend",
        "_function",
        "_layout",
        "_names",
        "_reclaimed",
        "_suspects",
        "alone",
        "bound",
        "limit",
        "ran",
        "sizes",
    )

    def __init__(
        self, function: Callable[..., Any], backend: Backend, layout: Layout | None, names: tuple[str, ...]
    ) -> None:
        self._function = function
        self._backend = backend
        self._layout = layout
        self._names = names
        self._suspects = 0
        self._reclaimed = False
        self.alone = False
        self.bound: int | None = None
        self.limit: int | None = None
        self.ran: list[int] = []
        self.sizes: list[int] = []

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, nested: bool = False) -> Any:
        """The outputs for these arguments; raises StepOutOfMemoryError when one row alone does not fit.

        `nested` says that they go to another gather, which puts together what is kept rather than written.
        """
        if self._most() is None:
            try:
                return self._function(*args, **kwargs)
            except Exception as error:
                failed = self._examine(error)
                if failed is None:
                    raise
            self._give_up_if_shared(failed)
        else:
            failed = None
        return self._in_parts(self._bind(args, kwargs), failed, nested)

    def pilot(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], watch: Watch, *, nested: bool = False
    ) -> Any:
        """As `call`, in parts that double from one row on, as far as their measured peaks allow."""
        batch = self._bind(args, kwargs)
        pieces = _doubling(batch)
        gather = Gather(batch, pieces, self._layout, self._backend, nested=nested)
        self.bound = watch.bound
        for index, piece in enumerate(pieces.slices):
            before = len(self.ran)
            output = self._attempt(*batch.part(piece, None, index), piece.num_tokens)
            gather.store(index, output)
            self.bound = watch.ran(max(self.ran[before:]), piece.num_tokens, output)
        self.bound = watch.settle()
        return gather.result()

    def may_alone(self, error: BaseException) -> bool:
        """Whether a step that ended so, with several ubatches in flight, may fit with one at a time."""
        backend = self._backend
        if backend.classify(error) is not FailureKind.OOM:
            return False
        return not (isinstance(backend, SupportsProcessGroup) and backend.in_process_group())

    def start_again(self) -> None:
        """Forget the limit, which was learned beside others, and give back what they cached."""
        self.limit = None
        self.alone = True
        self._backend.reclaim()
        self._reclaimed = False

    def _in_parts(self, batch: Batch, failed: Failed | None, nested: bool = True) -> Any:
        """Run `batch` in parts no larger than what may still fit; `failed` is its own failure, if it was tried."""
        rows = batch.shape.num_tokens
        if failed is not None:
            self._note_failure(batch, failed)
        pieces = cut(batch.shape, splitter="even", limit=max(1, min(self._most() or rows, rows)))
        gather = Gather(batch, pieces, self._layout, self._backend, nested=nested)
        for index, piece in enumerate(pieces.slices):
            gather.store(index, self._attempt(*batch.part(piece, None, index), piece.num_tokens))
        return gather.result()

    def _attempt(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], rows: int) -> Any:
        most = self._most()
        if most is not None and rows > most:
            return self._in_parts(self._bind(args, kwargs), None)
        try:
            output = self._function(*args, **kwargs)
        except Exception as error:
            failed = self._examine(error)
            if failed is None:
                raise
        else:
            self.ran.append(rows)
            return output
        self._give_up_if_shared(failed)
        return self._in_parts(self._bind(args, kwargs), failed)

    def _most(self) -> int | None:
        """Most rows of a part; None while nothing bounds it."""
        if self.bound is None or self.limit is None:
            return self.limit if self.bound is None else self.bound
        return min(self.bound, self.limit)

    def _examine(self, error: Exception) -> Failed | None:
        """What to keep of `error`, or None if it is not ours to retry."""
        kind = self._backend.classify(error)
        if kind is FailureKind.SUSPECT:
            self._suspects += 1
        if kind in (FailureKind.DEAD, FailureKind.OTHER) or self._suspects > SUSPECTS:
            return None
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
        strip_tracebacks(error)
        return Failed(kind=kind, error=error, where=where)

    def _note_failure(self, batch: Batch, failed: Failed) -> None:
        rows = batch.shape.num_tokens
        self.sizes.append(rows)
        if rows < 2 and (self._reclaimed or failed.kind is FailureKind.SIZE):
            raise StepOutOfMemoryError(self._advice(failed)) from failed.error
        self.limit = min(self.limit or rows, rows) // 2 or 1
        if (len(self.sizes) > 1 or rows < 2) and failed.kind is not FailureKind.SIZE:
            self._backend.reclaim()
            self._reclaimed = True

    def _give_up_if_shared(self, failed: Failed) -> None:
        """Other ranks may be inside a collective now; to run different parts than they do would hang them."""
        backend = self._backend
        if isinstance(backend, SupportsProcessGroup) and backend.in_process_group():
            raise StepOutOfMemoryError(
                f"out of memory inside a process group ({failed.error}), where retrying alone would leave the other "
                "ranks waiting; agree on a smaller max_tokens_per_ubatch on all ranks"
            ) from failed.error

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
        return bind(self._layout, args, dict(kwargs), backend=self._backend, names=self._names)

    def _advice(self, failed: Failed) -> str:
        tried = ", ".join(str(size) for size in self.sizes)
        return (
            f"one row alone does not fit: {failed.error or type(failed.error).__name__} (at {failed.where}); sizes "
            f"tried: {tried}; {_bytes(self._backend.memory())}; free memory held elsewhere, use a smaller dtype or "
            "shorter rows"
        )


def _doubling(batch: Batch) -> Cut:
    """Parts of 1, 1, 2, 4 and so on rows, then of a sixteenth of the batch."""
    rows = batch.shape.num_tokens
    most = max(1, -(-rows // SHARE_OF_PILOT))
    edges, size = [0, 1], 1
    while edges[-1] < rows:
        edges.append(min(rows, edges[-1] + size))
        size = min(most, size * 2)
    return cut(batch.shape, splitter="explicit", boundaries=edges)


def strip_tracebacks(error: BaseException) -> None:
    """Drop the tracebacks of `error` and of every cause, context and group member, so that no frame is kept."""
    for member in _chain(error):
        member.__traceback__ = None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        member = waiting.pop()
        if member is None or id(member) in seen:
            continue
        seen.add(id(member))
        yield member
        waiting += [member.__cause__, member.__context__]
        if isinstance(member, BaseExceptionGroup):
            waiting += member.exceptions


def _bytes(reading: MemoryReading) -> str:
    return f"{reading.in_use:,} of {reading.capacity:,} bytes in use, {reading.usable:,} usable"
