"""The way of one step: prepare, run whole or in parts or captured, report.

Invariant: the function sees each row exactly once per successful step, the caller gets the whole result or
the first error, and nothing of one step outlives it except its report. Each arrow is one call with one value;
nothing downstream calls back up. Rejected: a step object with a life of its own, since everything per step
then hangs off something that somebody may keep.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from microbatch.binding.batch import Batch
from microbatch.cutting.slices import Cut, UBatchSlice
from microbatch.errors import ClosedError, MicrobatchError, OutputMismatchError, PolicyError, warn
from microbatch.extend.device import meaning_of
from microbatch.extend.protocols import Backend
from microbatch.extend.records import StepReport
from microbatch.gathering.gather import Outputs
from microbatch.gathering.run_parts import Parts, run_parts
from microbatch.gathering.with_dummies import WithDummies
from microbatch.options.raised import Beside, is_a, name_of, note, text_of
from microbatch.proof.asked import StepResult
from microbatch.proof.module_modes import StateWatch
from microbatch.sizing.agreement import while_together
from microbatch.sizing.planning import Planner
from microbatch.step import log
from microbatch.step.cuttable import unproven
from microbatch.step.guarded_call import GuardedCall
from microbatch.step.in_parts import InParts, ScheduleRunner
from microbatch.step.layers import Layers
from microbatch.step.memory_guard import MemoryGuard
from microbatch.step.outcome import Outcome
from microbatch.step.paced_ubatches import PacedUbatches, pacing_of
from microbatch.step.planned import Planned
from microbatch.step.prepare import CallOfStep, Preparation
from microbatch.step.progress import StepCount, Telling
from microbatch.step.queued_ubatches import MANY, QueuedUbatches, may_be_queued
from microbatch.step.recovery import Recovery
from microbatch.step.report import make_report, sizes_that_ran
from microbatch.step.ubatches import Running, Ubatches
from microbatch.step.watched import Watched
from microbatch.step.wrapping import Wrapping
from microbatch.timeline.current import RECORDING, WATCH

if TYPE_CHECKING:
    # imported with `graphs=True` only: it is 15 % of the time from `import microbatch` to the first wrapper
    from microbatch.graphs.runner import Graphs


class Engine:
    """Runs the steps of one function. Usable from several threads at once, and from inside its own steps."""

    def __init__(self, wrapping: Wrapping, planner: Planner) -> None:
        config, function = wrapping.config, wrapping.function
        self.function = function
        self.planner = planner
        self.last_report: StepReport | None = None
        self._wrapping = wrapping
        self._runner = ScheduleRunner(config, wrapping.runtime, wrapping.threads, wrapping.ambient)
        self._modules = StateWatch(function)
        self._has_modules = self._modules.found
        self._guard = MemoryGuard(config.memory_limit, function)
        self._preparation = Preparation(wrapping, planner, self._guard, self._modules)
        self.remembering = self._preparation.remembering
        self._remembers = self.remembering.active
        self._graphs = self._new_graphs() if config.graphs else None
        self._listened = wrapping.plugins.listeners()
        progress = wrapping.progress
        self._telling = None if progress is None else Telling(progress, wrapping.runtime)
        self._closed = False
        self._told_shared = False
        self._told_policy = False

    def run(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        slices: Sequence[UBatchSlice] | Cut | None = None,
        out: Any = None,
    ) -> Any:
        """Run one step; see `UBatchWrapper.__call__`."""
        if self._closed:
            raise ClosedError("this wrapper was shut down; wrap the function again")
        call = CallOfStep(args, kwargs, slices, out is not None)
        recording, step = RECORDING.get(), self._step
        if recording is not None:
            from microbatch.timeline.step_watch import StepWatch

            step = partial(StepWatch(recording, self._runner.runtime, self.function).around, self._step)
        if self._telling is None:
            return step(call, out, None)
        return self._telling.around(partial(step, call, out))

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
        """Find the batch in the arguments; raises LayoutError where that is not possible."""
        return self._preparation.bind(args, kwargs)

    def backend(self) -> Backend:
        """The backend of the last step, or the one a step without arrays would use."""
        return self._preparation.backend()

    def shutdown(self) -> None:
        """Keep what was learned, and end the workers; a later call raises ClosedError. Twice is once."""
        if not self._closed:
            self._closed = True
            self.remembering.close()
        if self._graphs is not None:
            self._graphs.clear()  # before the threads they were captured in
        self._runner.shutdown()

    def _step(self, call: CallOfStep, out: Any, count: StepCount | None) -> Any:
        """Prepare the step and run it; what is done of it is added to `count`."""
        planned = self._preparation.step(call, self._runner.runtime.monotonic())
        cuttable = planned.cuttable
        if cuttable.evidence is not None:
            return self._run_first(planned, out, count)
        result = self._run(planned, out, count)
        if cuttable.evidence is not None:  # its memory ran out, so it was tried and cut after all
            self._check_result(planned, result, out)
        if cuttable.refused and cuttable.named:
            raise unproven(cuttable.refused) from cuttable.error
        if cuttable.refused:  # told only now: where the function raises, its own error is all there is to say
            self._preparation.tell(cuttable.refused)
        return result

    def _run(self, planned: Planned, out: Any, count: StepCount | None) -> Any:
        """Run the step as it was planned."""
        before = self._modules.before() if self._has_modules else None
        shared = None if self._told_shared else planned.batch.shared_rows()
        outcome, watched = Outcome(), None
        if count is not None:
            count.total = planned.batch.shape.num_requests
        if planned.plan is not self._guard.quiet:
            watched = self._guard.watch(planned, given_result=out is not None)
            planned = planned if watched is None else watched.planned
        layers = self._layers(planned, outcome, watched)
        try:
            if planned.plan.cut is None and out is None and planned.schedule != "streamed":
                cuttable, watch = planned.cuttable, WATCH.get()
                whole = layers.call if watch is None else watch.whole(layers.call, planned.device)
                result = whole(cuttable.args, cuttable.kwargs, planned.batch.shape.num_tokens, False)
                if count is not None:
                    count.add(count.total)
            else:
                result = self._in_parts(planned, outcome, layers, out, count)
        except BaseException as error:
            if planned.ranks is not None and is_a(error, Exception):
                note(error, while_together(planned.ranks))
            with Beside(error):
                self._finish(planned, outcome, layers, error)
                planned.cuttable.raised_whole()
            raise
        self._finish(planned, outcome, layers, None)
        if before is not None:
            self._modules.after(before)
        if shared is not None and shared.written():
            self._tell_shared(planned, shared.index)
        return result

    def _run_first(self, planned: Planned, out: Any, count: StepCount | None) -> Any:
        """Run a step that was shown to be cut on a few rows only, and find these rows in its result.

        Where they are others, the function is not cut from then on, and the step is run again, whole, unless
        that could not give the plain call's result any more.
        """
        cuttable = planned.cuttable
        verdict, result = cuttable.prove(), None
        try:
            result = self._run(planned, out, count)
            reason = cuttable.contradiction(
                StepResult(result=result, device=planned.device, given=out is not None)
            )
        except OutputMismatchError as error:
            reason = text_of(error)
        except Exception as error:
            if not verdict.picky or is_a(error, MicrobatchError):
                raise
            reason = f"it raises {name_of(error)} for some numbers of rows: {text_of(error)}"
        if not reason:
            return result
        cuttable.refute(reason)
        if cuttable.named or out is not None or verdict.writes_inputs:
            raise unproven(reason)
        self._preparation.tell(reason)
        return self._run(self._preparation.whole(planned, f"not cut: {reason}"), out, count)

    def _check_result(self, planned: Planned, result: Any, out: Any) -> None:
        """Raise UnprovenError where a step that only fits in parts must not be cut after all."""
        cuttable = planned.cuttable
        reason = cuttable.contradiction(
            StepResult(result=result, device=planned.device, given=out is not None)
        )
        if reason:
            cuttable.refute(reason)
            raise unproven(reason)

    def _layers(self, planned: Planned, outcome: Outcome, watched: Watched | None) -> Layers:
        """The layers around the function: graph, recovery, and a guard where the memory is to be watched."""
        function, graphs, awaits = self.function, None, planned.device.awaits
        if awaits is not None:
            function = awaits.awaiting(function)
        if self._graphs is not None and planned.alike:
            from microbatch.graphs.step_graphs import StepGraphs

            schedule = "sequential" if planned.plan.cut is None else planned.schedule
            graphs = StepGraphs(self._graphs, planned.device, schedule)
            function = function if planned.overlaps else graphs
        recovery = Recovery(function, planned, outcome)
        if watched is None:
            return Layers(recovery.call, recovery, None, graphs)
        guard = GuardedCall(recovery, watched, planned.cuttable.parts(), outcome)
        return Layers(guard.call, recovery, guard, graphs)

    def _in_parts(
        self, planned: Planned, outcome: Outcome, layers: Layers, out: Any, count: StepCount | None
    ) -> Any:
        """Run the parts under their schedule, or replay all of them where the step was captured whole."""
        verdict = planned.cuttable.verdict
        outputs = Outputs(
            layout=self._wrapping.layout,
            out=out,
            proven=None if verdict is None else verdict.outputs,
            names=self._wrapping.names,
            runtime=self._runner.runtime,
            make_room=layers.recovery.make_room,
        )
        plan, backend = planned.plan, planned.device.backend
        pacing = None if plan.pace is None else pacing_of(planned, plan.pace)
        cut = (plan.cut or planned.whole_cut()) if pacing is None else pacing.cut
        dummies = plan.dummies
        if dummies:
            parts: Parts = WithDummies(planned.batch, cut, backend, outputs, dummies=dummies)
        else:
            parts = Parts(planned.batch, cut, backend, outputs)
        running = Running(parts, layers.call, outcome, self._runner.runtime, count)
        if pacing is not None:
            ubatches: Ubatches = PacedUbatches(running, pacing)
        elif len(parts.calls) > MANY and may_be_queued(planned, parts):
            ubatches = QueuedUbatches(running)
        else:
            ubatches = Ubatches(running)
        order = InParts(planned, ubatches, layers, self._runner)
        if layers.graphs is None or not planned.overlaps:
            try:
                return run_parts(parts, layers.call, order)
            finally:
                if ubatches.queue is not None:
                    ubatches.tell()
        from microbatch.step.captured_step import CapturedStep

        step = CapturedStep(
            function=self.function, planned=planned, config=self._wrapping.config, runner=self._runner
        )
        work = step.work(lambda: run_parts(parts, layers.call, order), given_result=out is not None)
        result = layers.graphs.whole(work, *step.arguments())
        if layers.graphs.hits:
            ubatches.replayed()
        return result

    def _finish(
        self, planned: Planned, outcome: Outcome, layers: Layers, error: BaseException | None
    ) -> None:
        """Make the report, and show it to all who learn from it or listen."""
        seconds = self._runner.runtime.monotonic() - planned.started
        if layers.guard is not None:
            sizes = sizes_that_ran(planned, outcome) if error is None else ()
            layers.guard.finish(sizes, planned.plan.workers)
        failure = None if error is None else meaning_of(planned.backend, error)
        self.last_report = report = make_report(planned, outcome, layers.graphs, failure, seconds)
        watch = WATCH.get()
        if watch is not None:
            watch.reported(report)
        try:
            self.planner.observe(report)
        except PolicyError as fault:
            if error is not None:
                raise  # a note on the step's own error
            self._tell_policy(fault)  # the step is done and must reach its caller
        if self._remembers:
            self.remembering.after(report.step)
        if "logging" in sys.modules:  # where nobody has imported it, nobody listens
            log.tell(report)
        if self._listened:
            self._wrapping.plugins.step_finished(report)

    def _tell_policy(self, fault: PolicyError) -> None:
        """Warn, once, that the policy learns nothing."""
        if not self._told_policy:
            self._told_policy = True
            with suppress(RuntimeWarning):  # where warnings are errors
                warn(f"{fault}; the step is not affected", RuntimeWarning)

    def _tell_shared(self, planned: Planned, index: int) -> None:
        """Warn, once, that parts saw what earlier parts wrote."""
        self._told_shared = True
        name = planned.batch.name(index, self._wrapping.names)
        warn(
            f"{name} has rows that are one and the same memory, and the function writes into it, so each "
            "part saw what those before it wrote; pass a copy of it, such as .clone() or .copy() gives",
            UserWarning,
        )

    def _new_graphs(self) -> Graphs:
        from microbatch.graphs.runner import Graphs

        config, uniform = self._wrapping.config, self._wrapping.layout is None
        return Graphs(self.function, config.graph_sizes, uniform=uniform, modes=self._modules.modes)
