"""The way of one step: bind, plan, cut, run, gather, report.

Invariant: the function sees each row exactly once per successful step, the caller gets the whole result or the
first error, and nothing of one step outlives it except its report. Each arrow is one call with one value;
nothing downstream calls back up. Rejected: a step object with a life of its own, since everything per step then
hangs off something that somebody may keep.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from microbatch.binding.batch import Batch, Layout, bind
from microbatch.cutting.cut import UBatchSlice
from microbatch.errors import ClosedError, warn
from microbatch.extend.protocols import Backend
from microbatch.extend.records import MemoryReading, StepReport
from microbatch.gathering.gather import Gather
from microbatch.graphs.runner import Graphs, StepGraphs
from microbatch.host.cores import usable_cores
from microbatch.loading.choose_backend import BackendChoice
from microbatch.loading.plugins import Plugins
from microbatch.options.fields import UBatchConfig
from microbatch.proof.module_modes import StateWatch
from microbatch.schedules.step import Step
from microbatch.schedules.streamed import SLOTS
from microbatch.sizing.planning import Plan, Planner
from microbatch.sizing.remembering import Remembering
from microbatch.sizing.traits import Traits
from microbatch.step.captured_step import Overlapped
from microbatch.step.choose_schedule import choose_schedule, load_schedule
from microbatch.step.memory_guard import MemoryGuard, Watch
from microbatch.step.planned import Setting
from microbatch.step.recovery import Recovery, strip_tracebacks
from microbatch.step.report import make_report, watched_report
from microbatch.step.tracing import traced, tracing
from microbatch.step.ubatches import Progress, Ubatches, whole_cut
from microbatch.turns.context import UBatchContext
from microbatch.turns.runtime import Runtime
from microbatch.turns.workers import WorkerPool

__all__ = ["Engine"]


class Engine:
    """Runs the steps of one function. Usable from several threads at once, and from inside its own steps."""

    def __init__(
        self,
        function: Callable[..., Any],
        config: UBatchConfig,
        planner: Planner,
        *,
        plugins: Plugins,
        runtime: Runtime,
        layout: Layout | None = None,
        names: Sequence[str] = (),
        progress: Progress | None = None,
        policy: str = "auto",
    ) -> None:
        self.function = function
        self.config = config
        self.planner = planner
        self.last_report: StepReport | None = None
        self._layout = layout
        self._names = tuple(names)
        self._plugins = plugins
        self._backends = BackendChoice(config.backend, plugins)
        self._runtime = runtime
        self._workers = WorkerPool(runtime)
        self._watch = StateWatch(function)
        self._progress = progress
        self._policy = policy
        self._steps = itertools.count()
        self._cores = usable_cores()
        self._guard = MemoryGuard(config.memory_limit)
        self._listened = plugins.listeners()
        self.remembering = Remembering(planner.policy, policy, config, function)
        self._traits = Traits(config.graph_sizes if config.graphs else None)
        self._graphs: Graphs | None = None
        if config.graphs:
            uniform, modes = layout is None, self._watch.modes
            self._graphs = Graphs(function, config.graph_sizes, uniform=uniform, modes=modes)
        self._tracing = tracing()
        self._process = os.getpid()
        self._closed = False
        self._told_shared = False

    def run(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        slices: Sequence[UBatchSlice] | None = None,
        out: Any = None,
    ) -> Any:
        """Run one step; see `UBatchWrapper.__call__`."""
        setting = self._prepare(args, kwargs, slices)
        snapshot = self._watch.before()
        shared = None if self._told_shared else setting.batch.shared_rows()
        graphs = self._step_graphs(setting)
        function = self.function if graphs is None or setting.overlaps else graphs
        recovery = Recovery(function, setting.backend, self._layout, self._names)
        ubatches: Ubatches | None = None
        watch = self._guard.watch(setting, given_result=out is not None)
        try:
            if setting.plan.cut is None and out is None and setting.schedule != "streamed":
                result = (
                    recovery.call(args, kwargs) if watch is None else _watched(recovery, watch, args, kwargs)
                )
            else:
                ubatches = self._ubatches(setting, recovery, out, watch)
                if graphs is not None and setting.overlaps:
                    result = self._overlapped(
                        setting, ubatches, graphs, args, kwargs, given_result=out is not None
                    )
                else:
                    result = self._run(setting, ubatches)
        except BaseException as error:
            self._report(setting, ubatches, recovery, watch, graphs, error)
            raise
        self._report(setting, ubatches, recovery, watch, graphs, None)
        self._watch.after(snapshot)
        if shared is not None and shared.written():
            self._told_shared = True
            name = setting.batch.name(shared.index, self._names)
            warn(
                f"the function writes into {name}, whose rows are one and the same memory, so each ubatch saw what "
                "those before it wrote; pass a copy of it, such as .clone() or .copy() gives",
                UserWarning,
            )
        return result

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
        """Find the batch in the arguments; raises LayoutError where that is not possible."""
        backend = self._backends.of(args, kwargs)
        return bind(self._layout, args, dict(kwargs), backend=backend, names=self._names)

    def backend(self) -> Backend:
        """The backend of the last step, or the one a step without arrays would use."""
        return self._backends.last()

    def shutdown(self) -> None:
        """Keep what was learned, stop the workers and wait for them; a later call raises ClosedError. Twice is once."""
        if not self._closed:
            self._closed = True
            self.remembering.close()
        if self._graphs is not None:
            self._graphs.clear()  # before the threads they were captured in
        self._workers.shutdown()

    def _prepare(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], slices: Sequence[UBatchSlice] | None
    ) -> Setting:
        self._check_open()
        started = self._runtime.monotonic()
        backend = self._backends.of(args, kwargs)
        batch = bind(self._layout, args, dict(kwargs), backend=backend, names=self._names)
        number = next(self._steps)
        memory = backend.memory()
        self.remembering.before(backend, memory.capacity)
        schedule, note = choose_schedule(self.config, backend, self._watch, self._cores)
        plan = self._plan(backend, batch, slices, memory, schedule, number)
        return Setting(number, started, backend, batch, memory, schedule, note, plan)

    def _step_graphs(self, setting: Setting) -> StepGraphs | None:
        """What replays the function, or the step, and counts; None where graphs are off."""
        if self._graphs is None:
            return None
        return self._graphs.step(
            setting.backend, "sequential" if setting.plan.cut is None else setting.schedule
        )

    def _overlapped(
        self,
        setting: Setting,
        ubatches: Ubatches,
        graphs: StepGraphs,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        given_result: bool,
    ) -> Any:
        """Replay the whole step where it was captured, else run it, and capture it where that may be."""
        step = Overlapped(
            function=self.function,
            setting=setting,
            layout=self._layout,
            names=self._names,
            config=self.config,
            runtime=self._runtime,
            run=self._schedule,
        )
        work = step.work(lambda: self._run(setting, ubatches), given_result=given_result)
        result = graphs.whole(work, args, kwargs)
        if graphs.hits:
            ubatches.replayed()
        return result

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this wrapper was shut down; wrap the function again")
        if self._process != os.getpid():
            self._process = os.getpid()
            self._workers = WorkerPool(self._runtime)

    def _plan(
        self,
        backend: Backend,
        batch: Batch,
        slices: Sequence[UBatchSlice] | None,
        memory: MemoryReading,
        schedule: str,
        number: int,
    ) -> Plan:
        workers = min(self.config.thread_pool_size, self._cores) if schedule == "parallel" else 1
        in_flight = SLOTS if schedule == "streamed" else workers
        if slices is not None:
            return self.planner.explicit(batch, slices, workers)
        whole = self._watch.why_whole()
        if whole:
            return self.planner.whole(batch, whole)
        return self.planner.plan(batch, memory, workers, number, in_flight, self._traits.of(backend))

    def _ubatches(self, setting: Setting, recovery: Recovery, out: Any, watch: Watch | None) -> Ubatches:
        cut = setting.plan.cut or whole_cut(setting)
        gather = Gather(setting.batch, cut, self._layout, setting.backend, out)
        if watch is not None:
            recovery.bound = watch.bound
        return Ubatches(recovery, setting, gather, cut, self._runtime, self._progress, watch)

    def _run(self, setting: Setting, ubatches: Ubatches) -> Any:
        contexts = ubatches.contexts
        if ubatches.watch is not None and ubatches.watch.pilot:
            self._schedule(setting, ubatches, contexts[:1])
            contexts = contexts[1:]
        if (contexts or not ubatches.contexts) and not self._together(setting, ubatches, contexts):
            for context in ubatches.alone():
                self._schedule(setting, ubatches, [context])
        return ubatches.result()

    def _together(self, setting: Setting, ubatches: Ubatches, contexts: list[UBatchContext]) -> bool:
        """Run them as planned; False if they took each other's memory, and what is left shall run one at a time."""
        try:
            self._schedule(setting, ubatches, contexts)
        except Exception as error:
            together = len(contexts) > 1 and setting.schedule != "sequential"
            if not (together and ubatches.recovery.may_alone(error)):
                raise
            strip_tracebacks(error)
            return False
        return True

    def _schedule(self, setting: Setting, ubatches: Ubatches, contexts: list[UBatchContext]) -> None:
        several = len(contexts) > 1 or setting.schedule == "streamed"  # streamed also moves a single part
        schedule = load_schedule(setting.schedule if several else "sequential")
        step = Step(
            contexts=contexts,
            load=ubatches.load,
            compute=ubatches.compute,
            store=ubatches.store,
            backend=setting.backend,
            config=self.config,
            runtime=self._runtime,
            workers=self._workers,
            parallelism=setting.plan.workers,
        )
        schedule(traced(step) if self._tracing else step)

    def _report(
        self,
        setting: Setting,
        ubatches: Ubatches | None,
        recovery: Recovery,
        watch: Watch | None,
        graphs: StepGraphs | None,
        error: BaseException | None,
    ) -> None:
        seconds = self._runtime.monotonic() - setting.started
        report = make_report(setting, ubatches, recovery, seconds, self._policy, error)
        if watch is not None:
            report = watched_report(report, setting, recovery, watch)
        if graphs is not None:
            report = graphs.counted(report)
        self.last_report = report
        self.planner.observe(report)
        self.remembering.after(report.step)
        if self._listened:
            self._plugins.step_finished(report)


def _watched(recovery: Recovery, watch: Watch, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run the whole batch as one part, or as many as its memory asks for."""
    if watch.pilot:
        return recovery.pilot(args, kwargs, watch)
    recovery.bound = watch.bound
    return recovery.call(args, kwargs)
