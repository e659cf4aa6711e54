"""The way of one step: prepare, run whole or in parts or captured, report.

Invariant: the function sees each row exactly once per successful step, the caller gets the whole result or
the first error, and nothing of one step outlives it except its report. Each arrow is one call with one value;
nothing downstream calls back up. Rejected: a step object with a life of its own, since everything per step
then hangs off something that somebody may keep.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from microbatch.arrays.looks import is_array
from microbatch.binding.batch import Batch, Binder
from microbatch.binding.rules import Layout
from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import ClosedError, warn
from microbatch.extend.device import device_of
from microbatch.extend.protocols import Backend
from microbatch.extend.records import StepReport
from microbatch.gathering.gather import Outputs
from microbatch.gathering.run_parts import Parts, run_parts
from microbatch.host.cores import usable_cores
from microbatch.loading.choose_backend import BackendChoice
from microbatch.loading.plugins import Plugins
from microbatch.options.fields import UBatchConfig
from microbatch.proof.module_modes import StateWatch
from microbatch.sizing.conditions import Conditions, ConditionsOf
from microbatch.sizing.planning import Planner
from microbatch.sizing.remembering import Remembering
from microbatch.step.choose_schedule import choose_schedule
from microbatch.step.guarded_call import GuardedCall
from microbatch.step.in_parts import InParts, ScheduleRunner
from microbatch.step.layers import Layers
from microbatch.step.memory_guard import MemoryGuard
from microbatch.step.outcome import Outcome
from microbatch.step.planned import Planned
from microbatch.step.recovery import Recovery
from microbatch.step.report import make_report, sizes_that_ran
from microbatch.step.ubatches import Progress, Ubatches
from microbatch.turns.runtime import Runtime

if TYPE_CHECKING:
    # imported with `graphs=True` only: it is 15 % of the time from `import microbatch` to the first wrapper
    from microbatch.graphs.runner import Graphs


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapping:
    """What a wrapper was made from."""

    function: Callable[..., Any]
    """What runs on the parts."""
    config: UBatchConfig
    """The options."""
    plugins: Plugins
    """Where backends come from, and who hears of finished steps."""
    runtime: Runtime
    """The seam for threads and time."""
    layout: Layout | None = None
    """Which leaf is what; None infers it from sizes."""
    names: tuple[str, ...] = ()
    """Parameter names of the function, by position."""
    progress: Progress | None = None
    """Told after each ubatch."""
    policy: str = "auto"
    """Name of the policy, or of the chain."""


@dataclass(frozen=True, slots=True)
class Route:
    """What the steps on one backend have in common."""

    binder: Binder
    """Finds the batch; has the device."""
    schedule: str
    """Name of the schedule."""
    note: str
    """Why that schedule; empty where there is nothing to tell."""
    conditions: Conditions
    """What sizes depend on besides the batch."""


class Engine:
    """Runs the steps of one function. Usable from several threads at once, and from inside its own steps."""

    def __init__(self, wrapping: Wrapping, planner: Planner) -> None:
        config, function = wrapping.config, wrapping.function
        self.function = function
        self.planner = planner
        self.last_report: StepReport | None = None
        self.remembering = Remembering(planner.policy, wrapping.policy, config, function)
        self._wrapping = wrapping
        self._remembers = self.remembering.active
        self._choice = BackendChoice(config.backend, wrapping.plugins)
        self._binders: dict[str, Binder] = {}
        self._routes: dict[tuple[type, str], Route] = {}
        self._last_route: Route | None = None
        self._runner = ScheduleRunner(config, wrapping.runtime)
        self._modules = StateWatch(function)
        self._has_modules = self._modules.found
        self._steps = itertools.count()
        self._cores = usable_cores()
        self._guard = MemoryGuard(config.memory_limit)
        self._conditions = ConditionsOf(
            min(config.thread_pool_size, self._cores), config.graph_sizes if config.graphs else None
        )
        self._graphs = self._new_graphs() if config.graphs else None
        self._outputs = Outputs(layout=wrapping.layout)
        self._listened = wrapping.plugins.listeners()
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
        planned = self._prepare(args, kwargs, slices)
        before = self._modules.before() if self._has_modules else None
        shared = None if self._told_shared else planned.batch.shared_rows()
        outcome = Outcome()
        layers = self._layers(planned, outcome, given_result=out is not None)
        try:
            if planned.plan.cut is None and out is None and planned.schedule != "streamed":
                result = layers.call(args, kwargs, planned.batch.shape.num_tokens, False)
            else:
                result = self._in_parts(planned, outcome, layers, out)
        except BaseException as error:
            self._finish(planned, outcome, layers, error)
            raise
        self._finish(planned, outcome, layers, None)
        if before is not None:
            self._modules.after(before)
        if shared is not None and shared.written():
            self._tell_shared(planned, shared.index)
        return result

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
        """Find the batch in the arguments; raises LayoutError where that is not possible."""
        return self._route(args, kwargs).binder.bind(args, kwargs)

    def backend(self) -> Backend:
        """The backend of the last step, or the one a step without arrays would use."""
        route = self._last_route
        return self._choice.last() if route is None else route.binder.device.backend

    def shutdown(self) -> None:
        """Keep what was learned, and end the workers; a later call raises ClosedError. Twice is once."""
        if not self._closed:
            self._closed = True
            self.remembering.close()
        if self._graphs is not None:
            self._graphs.clear()  # before the threads they were captured in
        self._runner.shutdown()

    def _prepare(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], slices: Sequence[UBatchSlice] | None
    ) -> Planned:
        """Find the batch, and decide how the step runs."""
        if self._closed:
            raise ClosedError("this wrapper was shut down; wrap the function again")
        started, first = self._runner.runtime.monotonic(), args[0] if args else None
        route = self._routes.get((type(first), str(getattr(first, "device", "")))) or self._route(
            args, kwargs
        )
        self._last_route = route
        batch, memory = route.binder.bind(args, kwargs), route.binder.device.backend.memory()
        if self._remembers:
            self.remembering.before(route.binder.device, memory.capacity)
        number = next(self._steps)
        whole = self._modules.why_whole() if self._has_modules and slices is None else ""
        if slices is not None:
            plan = self.planner.explicit(batch, slices, route.conditions.workers)
        elif whole:
            plan = self.planner.whole(batch, whole)
        else:
            plan = self.planner.plan(batch, memory, route.conditions, number)
        return Planned(
            number,
            started,
            route.binder,
            batch,
            memory,
            route.schedule,
            route.note,
            plan,
            self._wrapping.policy,
        )

    def _route(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Route:
        """How steps with these arguments go; kept by the kind of the first where nothing of it can change."""
        wrapping, backend = self._wrapping, self._choice.of(args, kwargs)
        binder = self._binders.get(backend.name)
        if binder is None:
            binder = Binder(layout=wrapping.layout, names=wrapping.names, device=device_of(backend))
            self._binders[backend.name] = binder
        schedule, note = choose_schedule(wrapping.config, backend, self._modules, self._cores)
        route = Route(binder, schedule, note, self._conditions.step(binder.device, schedule))
        if args and is_array(args[0]) and not self._has_modules and binder.device.probe is None:
            self._routes[type(args[0]), str(getattr(args[0], "device", ""))] = route
        return route

    def _layers(self, planned: Planned, outcome: Outcome, *, given_result: bool) -> Layers:
        """The layers around the function: graph, recovery, and a guard where the memory is to be watched."""
        function, graphs, watched = self.function, None, None
        if self._graphs is not None:
            from microbatch.graphs.step_graphs import StepGraphs

            schedule = "sequential" if planned.plan.cut is None else planned.schedule
            graphs = StepGraphs(self._graphs, planned.binder.device, schedule)
            function = function if planned.overlaps else graphs
        recovery = Recovery(function, planned.binder, outcome)
        if planned.plan is not self._guard.quiet:
            watched = self._guard.watch(planned, given_result=given_result)
        if watched is None:
            return Layers(recovery.call, recovery, None, graphs)
        guard = GuardedCall(recovery.call, watched, planned.binder, outcome)
        return Layers(guard.call, recovery, guard, graphs)

    def _in_parts(self, planned: Planned, outcome: Outcome, layers: Layers, out: Any) -> Any:
        """Run the parts under their schedule, or replay all of them where the step was captured whole."""
        outputs = self._outputs
        if out is not None:
            outputs = replace(outputs, out=out, names=self._wrapping.names, runtime=self._runner.runtime)
        cut = planned.plan.cut or planned.whole_cut()
        parts = Parts(planned.batch, cut, planned.binder.device.backend, outputs)
        ubatches = Ubatches(parts, layers.call, outcome, self._runner.runtime, self._wrapping.progress)
        order = InParts(planned, ubatches, layers, self._runner)
        if layers.graphs is None or not planned.overlaps:
            return run_parts(parts, layers.call, order)
        from microbatch.step.captured_step import CapturedStep

        step = CapturedStep(
            function=self.function, planned=planned, config=self._wrapping.config, runner=self._runner
        )
        work = step.work(lambda: run_parts(parts, layers.call, order), given_result=out is not None)
        result = layers.graphs.whole(work, *planned.batch.arguments())
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
        failure = None if error is None else planned.backend.classify(error)
        self.last_report = report = make_report(planned, outcome, layers.graphs, failure, seconds)
        self.planner.observe(report)
        if self._remembers:
            self.remembering.after(report.step)
        if self._listened:
            self._wrapping.plugins.step_finished(report)

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
