"""Watching one step: its start and end, each phase of its ubatches, and what they call.

Invariant: a step that nobody records has no function of this module in its way: the functions of its `Step`
are replaced where somebody does. What is watched is called as it would be, with what it would be given, and
what it raises passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from microbatch.arrays.looks import is_array
from microbatch.extend.device import Device
from microbatch.extend.records import StepReport
from microbatch.schedules.step import Step
from microbatch.timeline.bars import Bar, Phase, SeenStep
from microbatch.timeline.current import RECORDING, WATCH
from microbatch.timeline.recording import Recording
from microbatch.timeline.track import TRACK, Track, Where
from microbatch.timeline.watched_seat import WatchedSeat, watched_seat
from microbatch.turns.context import PLACE, UBatchContext
from microbatch.turns.runtime import Runtime, thread_name
from microbatch.turns.seat import Seat

MOST_LEAVES = 64
"""Entries of a list whose bytes are counted: a list of texts may have millions."""
Result = TypeVar("Result")
Work = Callable[..., Any]


class StepWatch:
    """One step while it runs."""

    __slots__ = (
        "_asynchronous",
        "_name",
        "_outside",
        "_recording",
        "_report",
        "_runtime",
        "_start",
        "number",
    )

    def __init__(self, recording: Recording, runtime: Runtime, function: object) -> None:
        self.number = recording.next_step()
        """Its number in the recording."""
        self._recording = recording
        self._runtime = runtime
        self._name = str(getattr(function, "__name__", type(function).__name__))
        self._outside = TRACK.get()
        self._report: StepReport | None = None
        self._asynchronous = False
        self._start = runtime.monotonic()

    def around(self, run: Callable[..., Result], *args: Any) -> Result:
        """What `run` returns of `args`: the whole step."""
        if self._outside is not None:
            self._outside.enter("nested", self._name)
        token = WATCH.set(self)
        try:
            return run(*args)
        finally:
            WATCH.reset(token)
            self._end()
            if self._outside is not None:
                self._outside.leave()

    def reported(self, report: StepReport) -> None:
        """The report of the step."""
        self._report = report

    def whole(self, call: Work, device: Device) -> Work:
        """`call` of the whole batch, seen."""
        where = self._where(device)

        def seen(*args: Any) -> Any:
            return self._computing(Track(where, None), call, args)

        return seen

    def watched(self, step: Step) -> Step:
        """`step` with all that it does seen."""
        where = self._where(step.device, one_thread=step.config.driver == "greenlets")

        def seats(given: Sequence[Seat]) -> Sequence[Seat]:
            contexts = [seat.ubatch for seat in given]
            ids = [context.ubatch_id if isinstance(context, UBatchContext) else None for context in contexts]
            return [watched_seat(seat, Track(where, ubatch)) for seat, ubatch in zip(given, ids, strict=True)]

        def watched(phase: Any, work: Work) -> Work:
            return self._phase(where, phase, work)

        def compute(context: UBatchContext, arguments: Any) -> Any:
            return self._computing(_track_of(where, context), step.compute, (context, arguments))

        return replace(
            step,
            load=self._phase(where, "cut", step.load),
            compute=compute,
            store=self._phase(where, "store", step.store),
            watched=watched,
            watched_seats=seats,
        )

    def _where(self, device: Device, *, one_thread: bool = False) -> Where:
        self._asynchronous = device.backend.asynchronous
        if device.sights is not None:
            device.sights.watch_calls()
        return Where(
            recording=self._recording,
            runtime=self._runtime,
            device=device,
            step=self.number,
            one_thread=one_thread,
        )

    def _phase(self, where: Where, phase: Phase, work: Work) -> Work:
        def seen(*args: Any) -> Any:
            context = next((given for given in args if isinstance(given, UBatchContext)), PLACE.get().context)
            track, nbytes = _track_of(where, context, alone=phase == "wait"), 0
            track.enter(phase)
            try:
                made = work(*args)
                nbytes = _nbytes(args[1:] if phase == "store" else made)
                return made
            finally:
                track.leave(nbytes)

        return seen

    def _computing(self, track: Track, work: Work, args: tuple[Any, ...]) -> Any:
        """Call `work`; what it calls finds the track, in threads that were not the caller's too."""
        recording, former = RECORDING.set(self._recording), TRACK.set(track)
        try:
            with track.phase("compute"):
                return work(*args)
        finally:
            TRACK.reset(former)
            RECORDING.reset(recording)

    def _end(self) -> None:
        inside = None if self._outside is None else self._outside.where.step
        end, name = self._runtime.monotonic(), thread_name()
        lane = self._recording.lane(name, (name, self._runtime.current()))
        self._recording.add_step(
            SeenStep(
                number=self.number,
                inside=inside,
                name=self._name,
                start=self._start,
                end=end,
                report=self._report,
                asynchronous=self._asynchronous,
            ),
            Bar(phase="step", start=self._start, end=end, lane=lane, step=self.number, label=self._name),
        )


def _track_of(where: Where, context: UBatchContext | None, *, alone: bool = False) -> Track:
    """The track that the seat of the ubatch has, or a new one."""
    seat = PLACE.get().seat
    if isinstance(seat, WatchedSeat) and not alone:
        return seat.track
    return Track(where, None if context is None else context.ubatch_id)


def _nbytes(tree: Any) -> int:
    """Bytes of the arrays in tuples, lists and dicts; what is inside of other things does not count.

    Not `leaves_of`, which looks for new containers each time: 25 us, as long as all else that is recorded.
    """
    if isinstance(tree, (tuple, list)):
        return sum(map(_nbytes, tree[:MOST_LEAVES]))
    if isinstance(tree, dict):
        return sum(map(_nbytes, list(tree.values())[:MOST_LEAVES]))
    return int(getattr(tree, "nbytes", 0)) if is_array(tree) else 0
