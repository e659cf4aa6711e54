"""Ubatches that take turns: one runs at a time and passes the turn at its yield points (dual batch overlap).

Invariant: nobody starts before all are set up. A ubatch that ends leaves the ring, so ubatches may pass
different numbers of yield points. The first error reaches the caller after every sibling has unwound. Each
ubatch runs in its own copy of the caller's context variables: what it sets there is gone after the step.

What overlaps is device work and communication: a device that finishes work before it returns gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from functools import partial
from itertools import pairwise

from msgspec.structs import replace

from microbatch.errors import ThreadStateError
from microbatch.extend.device import Device
from microbatch.extend.inside import inside
from microbatch.extend.protocols import ThreadState
from microbatch.schedules import sequential
from microbatch.schedules.around import surround, surrounded
from microbatch.schedules.step import Step
from microbatch.turns.context import AT_COLLECTIVES, AtCollectives, UBatchContext, enter
from microbatch.turns.failure import Failures
from microbatch.turns.handoff import Ring, ThreadRing
from microbatch.turns.seat import Seat, make_seats
from microbatch.turns.step_lanes import StepLanes, lanes_of


def run(step: Step) -> None:
    """Run the ubatches of `step` in turns; raises the first error.

    Where there are more than may be alive at the same time, they take turns in groups, one group after the
    other. With `strict_yields` an error is UnequalYieldsError where all went well but not all of a group
    yielded equally often.
    """
    if not (step.config.yield_at_collectives or AT_COLLECTIVES.get()):
        _run_groups(step)
        return
    if step.device.collectives is not None:
        step.device.collectives.hook_collectives()
    inside(AtCollectives(), lambda _: _run_groups(step))


def _run_groups(step: Step) -> None:
    for group in groups(step.contexts, step.together):
        run_group(replace(step, contexts=group))


def groups(contexts: Sequence[UBatchContext], most: int | None) -> list[Sequence[UBatchContext]]:
    """`contexts` in order, in as few groups of at most `most` as there can be, as equal as they can be."""
    if most is None or len(contexts) <= most:
        return [contexts]
    count = -(-len(contexts) // most)
    edges = [place * len(contexts) // count for place in range(count + 1)]
    return [contexts[start:stop] for start, stop in pairwise(edges)]


def run_group(step: Step) -> None:
    """Run ubatches that are all alive at the same time."""
    if len(step.contexts) < 2:
        sequential.run(surrounded(step))
        return
    failures = Failures()
    carry = _on_greenlets if step.config.driver == "greenlets" else _on_threads
    try:
        try:
            with lanes_of(step.device, len(step.contexts)) as lanes:
                ring = carry(step, failures, lanes)
            if step.config.strict_yields and not failures.any():
                ring.check_equal()
        except BaseException as error:  # noqa: BLE001 - raised below, after what came first
            failures.record(None, error)
        failures.raise_first()
    finally:
        failures.records = None


def _on_threads(step: Step, failures: Failures, lanes: StepLanes | None) -> Ring:
    """The caller carries ubatch 0, a pooled thread each of the others."""
    limit = step.config.barrier_timeout
    ring = ThreadRing(step.runtime, [context.cpu_wait_event for context in step.contexts], limit)
    ring.first = step.contexts[0].ubatch_id
    state = step.backend.thread_state()
    seats = step.watched_seats(surround(make_seats(step.contexts, ring, step.backend, lanes), step))

    def interrupted(error: BaseException) -> None:
        failures.record(None, error)
        ring.scatter()

    applied = [nullcontext, *[state.apply] * (len(seats) - 1)]  # the caller's thread has its state already
    bodies = [
        _isolated(partial(_run_ubatch, step, seat, failures, apply))
        for seat, apply in zip(seats, applied, strict=True)
    ]
    try:
        step.workers.run(bodies, on_interrupt=interrupted, limit=limit, give_up=failures.any)
    finally:
        if not all(ring.left):
            ring.scatter()  # a second interrupt came before the first had made the others unwind
        seats[0].end()  # the caller's; an interrupt may have come before its ubatch did this
        for context in step.contexts:
            context.end()
    return ring


def _isolated(body: Callable[[], None]) -> Callable[[], None]:
    """`body` in a copy of the caller's context variables."""
    variables = copy_context()
    return lambda: variables.run(body)


def _on_greenlets(step: Step, failures: Failures, lanes: StepLanes | None) -> Ring:
    """The caller's thread carries them all."""
    from microbatch.turns.greenlets import GreenletRing

    state = step.backend.thread_state()
    parking = _parking(step.device, state)
    ring = GreenletRing(len(step.contexts), parking)
    seats = surround(make_seats(step.contexts, ring, step.backend, lanes, one_thread=True), step)
    seats = step.watched_seats(seats)
    applied = nullcontext if parking is None else state.apply
    bodies = [partial(_run_ubatch, step, seat, failures, applied) for seat in seats]
    try:
        ring.carry(bodies, partial(failures.record, None))
    finally:
        for seat in seats:
            seat.end()  # an interrupt may have come before its ubatch did this
    return ring


def _run_ubatch(
    step: Step, seat: Seat, failures: Failures, applied: Callable[[], AbstractContextManager[None]]
) -> None:
    """Run one ubatch from its set-up to its end; what it raises is recorded, and its siblings unwind."""
    ring, index, context = seat.ring, seat.index, step.contexts[seat.index]

    def take_turns(_: None) -> None:
        place = enter(context, seat)  # in here, as `applied` may bring context variables of its own
        try:
            ring.start(index)
            seat.begin()
            outputs = step.compute(context, step.load(context))
            seat.switch_ordered("compute")  # results are written in the order of one lane
            step.store(context, outputs)
            seat.run_hooks()
        finally:
            place.seat = None  # in all copies of the variable
            seat.end()

    try:
        inside(applied(), take_turns)
    except BaseException as error:  # noqa: BLE001 - recorded, and raised in the caller
        failures.record(context, error)
        ring.fail(index)
    finally:
        ring.leave(index)


def _parking(device: Device, state: ThreadState) -> Callable[[], AbstractContextManager[None]] | None:
    """What a greenlet enters while others run, to put away what it set in the thread; None for nothing.

    A greenlet has context variables of its own: where `state` holds nothing else, nothing is put away.
    """
    checks = device.yield_check
    if checks is None:
        return None if getattr(state, "only_context_variables", False) else state.apply
    check = checks.mode_depth
    depth = check()

    def parked() -> AbstractContextManager[None]:
        if check() != depth:
            raise ThreadStateError(
                "a ubatch reached a yield point inside a framework mode that cannot be parked (a function or"
                " dispatch mode it has entered); leave the mode before the yield, or use driver='threads'"
            )
        return state.apply()

    return parked
