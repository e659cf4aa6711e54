"""Copy in, compute and copy out of neighbouring ubatches at the same time, on three streams.

Invariant: each stage of a ubatch waits for the stage before it by an event. A slot of the ring is used again
only when the last stage of its former ubatch is done, so no more than the ring's slots are in flight. Until
then the slot holds everything that its stages need: an allocator that gives freed memory to other work at
once finds nothing to give. The host waits for single events, never for a stream or the device, and has waited
for all of them when the step returns.

While the outputs of one ubatch are being read, the function computes the next one. So a function that returns
memory which it writes again is refused. Where copying in runs out of memory, the ubatches before it are
finished first, which frees their slots; then the copy is tried twice more. Where the function runs out of
memory, the step's recovery calls it on smaller parts. A stage that raises records its error, and the stages
after it do nothing: so a stream never fails, and none waits for an event that never comes.

Rejected: two slots (copying in would have to wait for copying out), and dropping the inputs once compute is
launched (the allocator would have to know of the other stream, and no protocol here can tell it).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from msgspec import Struct, field

from microbatch.arrays.looks import is_array
from microbatch.arrays.memory import start_of
from microbatch.arrays.shared_memory import overwritten
from microbatch.arrays.trees import leaves_of
from microbatch.errors import WaitTimeoutError
from microbatch.extend.device import Device, meaning_of
from microbatch.extend.protocols import Event, Pipe
from microbatch.extend.records import FailureKind
from microbatch.schedules import sequential
from microbatch.schedules.staging import Buffers, Mover
from microbatch.schedules.step import Step
from microbatch.turns.context import PLACE, UBatchContext, enter
from microbatch.turns.failure import Failures

SLOTS = 3
"""Ubatches in flight: one is copied in, one computed, one copied out."""


def run(step: Step) -> None:
    """Run the ubatches of `step` through the pipeline; raises the first error after everything has drained.

    Where the backend lends no streams and the caller is itself a stage of another step on them, ubatches run
    one after another: waiting for all streams would wait for that stage.
    """
    with _pipe_of(step.device) as pipe:
        if any(step.backend.current_stream() is stream for stream in pipe):
            sequential.run(step)
        else:
            Pipeline(step, pipe).run_all()


def _pipe_of(device: Device) -> AbstractContextManager[Pipe]:
    """Streams of the step's own where the backend lends some, else those that all steps share."""
    stream = device.backend.stream
    if device.pipes is not None:
        return device.pipes.pipe()
    return nullcontext((stream("copy_in"), stream("compute"), stream("copy_out")))


class Slot(Struct, eq=False):
    """A place in the ring: one ubatch, its data, its events, and the staging buffers that stay."""

    fetched: Event
    """Its inputs are there."""
    computed: Event
    """The function has run on it."""
    sent: Event
    """Its outputs are in the result, or on the host."""
    buffers: Buffers = field(default_factory=dict)
    """Staging buffers for its inputs."""
    context: UBatchContext | None = None
    """Who is here, None for nobody."""
    loaded: Any = None
    """Its part of the batch, where the caller has it."""
    inputs: Any = None
    """The same on the device."""
    outputs: Any = None
    """What the function returned."""
    returned: Returned | None = None
    """Where that is."""
    host: Any = None
    """The outputs on the host, where they are moved."""
    moved: bool = False
    """Whether inputs were moved to the device, so that outputs are moved back."""

    def clear(self) -> None:
        """Let the ubatch and its arrays go."""
        self.context = self.loaded = self.inputs = self.outputs = self.returned = self.host = None
        self.moved = False


class Returned:
    """Where the rows of a ubatch's outputs are; keeps them alive, so an equal address is the same memory.

    What the function was given and returned as it is does not count, unless it is in a buffer that the next
    one is given too: two parts of one request may both be given its row.
    """

    def __init__(self, outputs: Any, context: UBatchContext, inputs: Any) -> None:
        self.ubatch = context.ubatch_id
        rows = {context.slice_info.num_tokens, context.slice_info.num_reqs}
        self._leaves = [
            leaf for leaf in leaves_of(outputs) if is_array(leaf) and rows.intersection(leaf.shape)
        ]
        given = {start_of(leaf) for leaf in leaves_of(inputs)}
        self.starts = {start_of(leaf) for leaf in self._leaves} - given

    def check_apart(self, later: Returned) -> None:
        """Raise OutputMismatchError if rows of `later` are where rows of this one still have to be read."""
        if self.starts & later.starts - {None}:
            raise overwritten("an output", later.ubatch, self.ubatch)


class Pipeline:
    """One step on its way through the three streams."""

    def __init__(self, step: Step, pipe: Pipe) -> None:
        event = step.backend.event
        self._step = step
        self._thread = step.runtime.current()
        self._failures = Failures()
        mover = Mover(step.device)
        self._bring = step.watched("copy in", mover.fetch)
        self._take_back = step.watched("copy out", mover.send)
        self._wait_for = step.watched("wait", Pipeline._await)
        self._pipe = self._copy_in, self._compute, self._copy_out = pipe
        self._last: Returned | None = None
        slots = min(max(SLOTS, step.parallelism + 1), max(1, len(step.contexts)))
        self._ring = [Slot(event(), event(), event()) for _ in range(slots)]

    def run_all(self) -> None:
        """Run all ubatches; raises the first error when all have ended."""
        try:
            try:
                self._launch_all()
            except BaseException as error:  # noqa: BLE001 - raised below, after what came first
                self._failures.record(None, error)
                self._drain()
            self._failures.raise_first()
        finally:
            self._failures.records = None

    def _launch_all(self) -> None:
        """Launch each ubatch as soon as a slot is free, none after an error; then wait for the last ones."""
        self._follow_caller()
        for index, context in enumerate(self._step.contexts):
            slot = self._ring[index % len(self._ring)]
            self._retire(slot)
            if self._failures.any():
                break
            self._launch(slot, context)
        first = len(self._step.contexts) % len(self._ring)
        for slot in [*self._ring[first:], *self._ring[:first]]:
            self._retire(slot)

    def _follow_caller(self) -> None:
        """Let our work begin after what the caller has launched, which may be making the inputs."""
        entry = self._step.backend.event()
        entry.record(self._step.backend.current_stream())
        self._copy_in.wait(entry)

    def _launch(self, slot: Slot, context: UBatchContext) -> None:
        """Give the three stages of a ubatch to their streams, each behind the one before it."""
        slot.context = context
        self._copy_in.submit(self._stage(slot, context, self._fetch))
        slot.fetched.record(self._copy_in)
        self._compute.wait(slot.fetched)
        self._compute.submit(self._stage(slot, context, self._call))
        slot.computed.record(self._compute)
        self._copy_out.wait(slot.computed)
        self._copy_out.submit(self._stage(slot, context, self._send))
        slot.sent.record(self._copy_out)

    def _stage(
        self, slot: Slot, context: UBatchContext, work: Callable[[Slot, UBatchContext], None]
    ) -> Callable[[], None]:
        """`work` with its ubatch current. What it raises is recorded; once an error is, it does nothing."""

        def stage() -> None:
            if self._failures.any():
                return
            former = PLACE.get()
            try:
                try:
                    enter(context)
                    work(slot, context)
                finally:
                    PLACE.set(former)
            except BaseException as error:  # noqa: BLE001 - recorded, and raised in the caller
                self._failures.record(context, error)

        return stage

    def _fetch(self, slot: Slot, context: UBatchContext) -> None:
        """Cut the part out of the batch and bring it to the device; make room if memory runs out."""
        slot.loaded = self._step.load(context)
        for again in (False, True):
            try:
                slot.inputs, slot.moved = self._bring(slot.loaded, slot.buffers)
            except Exception as error:
                # Only the caller's thread may free slots. It runs the stages itself where `submit` calls at
                # once.
                here = self._step.runtime.current() == self._thread
                if not here or meaning_of(self._step.backend, error) is not FailureKind.OOM:
                    raise
            else:
                return
            # outside of `except`: the error holds what the failed attempt had allocated
            self._make_room(slot, again)
        slot.inputs, slot.moved = self._bring(slot.loaded, slot.buffers)

    def _make_room(self, slot: Slot, again: bool) -> None:
        """Finish the ubatches before that of `slot`, oldest first, and give memory back."""
        place = self._ring.index(slot)
        for other in [*self._ring[place + 1 :], *self._ring[:place]]:
            self._retire(other)
        self._step.make_room(again)

    def _call(self, slot: Slot, context: UBatchContext) -> None:
        """Call the function; refuse outputs in memory where those of an earlier ubatch are."""
        before = [self._last, *(other.returned for other in self._ring)]
        slot.outputs = self._step.compute(context, slot.inputs)
        inputs = () if slot.moved else slot.inputs
        slot.returned = self._last = Returned(slot.outputs, context, inputs)
        for earlier in before:
            if earlier is not None:
                earlier.check_apart(slot.returned)

    def _send(self, slot: Slot, context: UBatchContext) -> None:
        """Write the outputs to the result, or begin to bring them to the host."""
        if slot.moved:
            slot.host = self._take_back(slot.outputs)
        else:
            self._step.store(context, slot.outputs)

    def _retire(self, slot: Slot) -> None:
        """Wait until the ubatch of `slot` is done, write what was brought to the host, and free the slot."""
        context = slot.context
        if context is None:
            return
        self._wait_for(self, slot.sent, context)
        if slot.moved:
            self._stage(slot, context, lambda slot, context: self._step.store(context, slot.host))()
        slot.clear()

    def _await(self, event: Event, context: UBatchContext) -> None:
        """Wait for `event`; raises WaitTimeoutError `barrier_timeout` seconds after the step has failed."""
        limit = self._step.config.barrier_timeout
        while not self._over(event, context, limit):
            if self._failures.any():
                raise WaitTimeoutError(
                    f"the step has failed and ubatch {context.ubatch_id} of {context.num_ubatches} is"
                    f" still in the pipeline {limit} s later, so it is no longer waited for; make the"
                    " function return when a stage fails"
                )

    def _over(self, event: Event, context: UBatchContext, limit: float | None) -> bool:
        """Whether `event` came within `limit` seconds, or never will, as the device's own work has failed."""
        try:
            return event.synchronize(limit)
        except WaitTimeoutError:
            raise
        except Exception as error:  # noqa: BLE001 - recorded, and raised in the caller
            self._failures.record(context, error)
            return True

    def _drain(self) -> None:
        """After an interrupt, or a wait that took too long: wait for each stage that still makes progress."""
        try:
            for slot in self._ring:
                self._retire(slot)
            self._empty()
        except WaitTimeoutError as error:  # once: where one stage hangs, others hang behind it
            self._failures.record(None, error)
        for slot in self._ring:
            slot.clear()

    def _empty(self) -> None:
        """Wait for the streams: an interrupt may have come between a stage and the event behind it."""
        limit = self._step.config.barrier_timeout
        for stream in self._pipe:
            try:
                if not stream.synchronize(limit):
                    raise WaitTimeoutError(
                        f"the step has failed and its {stream.purpose} stream still works {limit} s later, so"
                        " it is no longer waited for; make the function return when a stage fails"
                    )
            except WaitTimeoutError:
                raise
            except Exception as error:  # noqa: BLE001 - work of the device has failed; raised in the caller
                self._failures.record(None, error)
