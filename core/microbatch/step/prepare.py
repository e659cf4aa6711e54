"""Find the batch, ask whether it may be cut, and decide how the step runs: all before anything runs.

Invariant: a batch is cut only where that was shown or declared. Where it was refuted, a step whose parts the
caller named is an error, and any other runs whole, with one warning and the reason in its report.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from microbatch.binding.batch import Batch
from microbatch.cutting.slices import Cut, UBatchSlice
from microbatch.errors import warn
from microbatch.extend.abilities import Ranks
from microbatch.extend.protocols import Backend
from microbatch.extend.records import MemoryReading
from microbatch.proof.module_modes import StateWatch
from microbatch.proof.prover import Prover
from microbatch.proof.verdict import Verdict
from microbatch.sizing.agreed_plan import in_count, shape_number
from microbatch.sizing.agreement import Agreed, Telling, Wish, agree, number_of
from microbatch.sizing.conditions import Conditions
from microbatch.sizing.plan import Plan
from microbatch.sizing.planning import Planner
from microbatch.sizing.remembering import Remembering
from microbatch.sizing.units import splitter_for
from microbatch.step.cuttable import Cuttable, unproven
from microbatch.step.memory_guard import MemoryGuard
from microbatch.step.planned import Planned
from microbatch.step.routes import Route, Routes
from microbatch.step.wrapping import Wrapping

SAME_MEMORY_AT_ONCE = (
    "each call returns the same memory, and schedule='parallel' runs several at the same time; name another"
)
"""Why a function that returns its own buffer cannot run under the schedule that was named."""


WORTH_TRYING = 1 << 18
"""Bytes of arguments from which `auto` may cut; below that no other reading of the sizes is looked for."""
FEW_ROWS = 64
"""Rows up to which the first step of a wrapper runs whole and untried, where that surely fits. Many a batch
comes once, and 24 rows are tried: with 32 images the first call of ViT took 1.7 times as long as the plain
call, of ConvNeXt 2.2 times."""


class CallOfStep(Struct):
    """What the caller asked for."""

    args: tuple[Any, ...]
    """Positional arguments."""
    kwargs: Mapping[str, Any]
    """Arguments by name."""
    slices: Sequence[UBatchSlice] | Cut | None
    """The parts, where the caller named them; a cut also says what of them is padding."""
    given_result: bool
    """Whether the result goes to a place of the caller's."""


class Preparation:
    """One per wrapper. Usable from several threads at once."""

    def __init__(self, wrapping: Wrapping, planner: Planner, guard: MemoryGuard, modules: StateWatch) -> None:
        config = wrapping.config
        self.planner = planner
        self.modules = modules
        self.remembering = Remembering(planner, wrapping.policy, config, wrapping.function)
        self._wrapping = wrapping
        self._guard = guard
        self._remembers = self.remembering.active
        self._routes = Routes(wrapping, modules)
        self._last_route: Route | None = None
        self._last_plain: tuple[Plan, type | None, Verdict] | None = None
        self._has_modules = modules.found
        self._prover = Prover(wrapping.function, config, modules.modes)
        self._steps = itertools.count()
        # packed and request-aligned cut between requests; where the plan does not, it is asked anew
        self._splits_requests = config.splitter in ("auto", "even", "floor")
        self._named = config.policy != "auto"
        self._first_may_be_whole = wrapping.policy == "auto" and not (
            planner.capped or config.graphs or planner.few
        )
        """Whether a first batch of few rows may run whole. A function that is compiled for each size would be
        compiled once more for that."""
        self._told = False

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Batch:
        """Find the batch in the arguments; raises LayoutError where that is not possible."""
        return self._routes.of(args, kwargs).binder.bind(args, kwargs)

    def backend(self) -> Backend:
        """The backend of the last step, or the one a step without arrays would use."""
        route = self._last_route
        return self._routes.backend() if route is None else route.binder.device.backend

    def step(self, call: CallOfStep, started: float) -> Planned:
        """How one step runs; raises UnprovenError where named parts would give another result, RanksError and
        WaitTimeoutError where the ranks of a process group cannot run it together."""
        args, kwargs = call.args, call.kwargs
        first = args[0] if args else None
        route = self._routes.kept.get((type(first), str(getattr(first, "device", ""))))
        if route is None or (route.grouping in sys.modules and route.outdated()):
            route = self._routes.of(args, kwargs)
        self._last_route = route
        if route.ranks is None:
            return self._planned(call, route, started)
        patience = self._wrapping.patience
        with Telling(route.ranks, patience):
            planned = self._planned(call, route, started)
            wish = self._wish(planned)
        return self._together(planned, route.ranks, agree(route.ranks, wish, patience))

    def _wish(self, planned: Planned) -> Wish:
        """What the other ranks must know of this step before it begins."""
        plan, batch, config = planned.plan, planned.batch, self._wrapping.config
        turns = planned.schedule == "pingpong"
        return Wish(
            count=max(1, len(plan.sizes)),
            limit=plan.limit,
            together=self.planner.at_once(plan) if turns else None,
            way=number_of(_name(self._wrapping.function), planned.schedule, config.driver if turns else ""),
            shape=shape_number(plan, batch.shape, splitter_for(config, batch), config.multiple_of),
            uncut=plan.cut is None and (plan.fixed or bool(planned.cuttable.prove().why_whole)),
        )

    def _together(self, planned: Planned, ranks: Ranks, agreed: Agreed) -> Planned:
        """The step as all ranks run it; its time begins when all have come."""
        config, batch = self._wrapping.config, planned.batch
        splitter = splitter_for(config, batch)
        plan = in_count(planned.plan, batch.shape, splitter, agreed, config.multiple_of)
        started = self._wrapping.runtime.monotonic()
        return replace(planned, plan=plan, ranks=ranks, alike=agreed.alike, started=started)

    def _planned(self, call: CallOfStep, route: Route, started: float) -> Planned:
        """The step as it would run on this rank alone."""
        args, kwargs = call.args, call.kwargs
        binder = route.binder.of_cut(call.slices) if isinstance(call.slices, Cut) else route.binder
        batch, device = binder.bind(args, kwargs), binder.device
        memory, number, streamed = device.backend.memory(), next(self._steps), route.schedule == "streamed"
        if self._remembers:
            self.remembering.before(device, memory.capacity)
        named = self._named or call.slices is not None
        cuttable = Cuttable(self._prover, binder, args, kwargs, streamed, named, batch, batch)
        cuttable.together = route.ranks is not None
        cuttable.compiled = self.planner.few
        cuttable.inside_requests = self._splits_requests and batch.shape.query_start_loc is not None
        if self._prover.remarkable or call.slices is not None:
            cuttable.look_up()
            if call.slices is not None and batch.most_rows > batch.shape.num_tokens:
                cuttable.prove()  # slices are of the batch by the right reading
            route = self._routes.overlapping(route, cuttable.verdict)
        plan = self._plan(cuttable.batch, memory, route.conditions, number, call.slices)
        if plan.cut is not None:
            self._judge(cuttable, plan, plan.cut)
        planned = Planned(
            number,
            started,
            device,
            cuttable,
            cuttable.batch,
            memory,
            route.schedule,
            route.note,
            plan,
            self._wrapping.policy,
        )
        verdict = cuttable.verdict
        if verdict is not None and verdict.plain:
            return planned
        if plan is self._guard.quiet and plan.cut is None and batch.most_rows <= batch.shape.num_tokens:
            return planned  # it runs whole, and nothing will cut it: the commonest of small steps
        return self._proven(planned, route, call)

    def _judge(self, cuttable: Cuttable, plan: Plan, cut: Cut) -> None:
        """Take the verdict that is known for this cut.

        Steps of one array that are alike have one plan, so that of the step before says it at once.
        """
        plain, kind = self._last_plain, cuttable.batch.only_kind
        if plain is not None and kind is not None and plain[0] is plan and plain[1] is kind:
            cuttable.verdict = plain[2]
            return
        cuttable.planned(cut)
        verdict = cuttable.verdict
        if verdict is not None and verdict.plain and not self._has_modules:
            self._last_plain = plan, kind, verdict

    def whole(self, planned: Planned, reason: str) -> Planned:
        """The same step, run once on the whole batch."""
        return replace(planned, plan=self.planner.whole(planned.batch, reason))

    def tell(self, reason: str) -> None:
        """Warn, once a wrapper, that steps run whole."""
        if not self._told:
            self._told = True
            warn(
                f"the function is not cut, and each call runs whole: {reason}; declare in a Layout what each "
                "argument and output is, if rows are independent (microbatch.check says more)",
                UserWarning,
            )

    def _plan(
        self,
        batch: Batch,
        memory: MemoryReading,
        conditions: Conditions,
        number: int,
        slices: Sequence[UBatchSlice] | Cut | None,
    ) -> Plan:
        whole = self.modules.why_whole() if self._has_modules and slices is None else ""
        if slices is not None:
            return self.planner.explicit(batch, slices, conditions.workers)
        if whole:
            return self.planner.whole(batch, whole)
        return self.planner.plan(batch, memory, conditions, number)

    def _proven(self, planned: Planned, route: Route, call: CallOfStep) -> Planned:
        """The step with what is known of its function taken into account, asked for now if it is cut."""
        cuttable = planned.cuttable
        if cuttable.verdict is None:
            if not self._will_cut(planned):
                return planned
            cuttable.look_up()
        known = cuttable.verdict
        if known is None and call.slices is None and self._may_come_once(planned):
            return self.whole(planned, f"a first batch of up to {FEW_ROWS} rows runs whole")
        if self._prover.always or (known is not None and known.raised and cuttable.named):
            cuttable.verdict = None
        if cuttable.compiled and not self._guard.may_cut(planned):
            cuttable.tryable = tuple(sorted(set(planned.plan.sizes), reverse=True))
        if planned.plan.pace is not None:
            cuttable.fewest = planned.plan.pace.least
        mark = self._guard.mark(planned) if cuttable.verdict is None else None
        before, verdict = cuttable.batch, cuttable.prove()
        if verdict.why_whole:
            return self._refused(planned, verdict.why_whole)
        if cuttable.batch is not before or self._routes.overlapping(route, verdict) is not route:
            planned = self._again(planned, self._routes.overlapping(route, verdict), call.slices)
        if mark is not None and cuttable.evidence is not None:
            self._guard.shown(planned, mark, cuttable.evidence.rows)
        if cuttable.compiled and cuttable.evidence is not None:
            self.planner.tried(planned.batch, cuttable.evidence.sizes)
        if planned.plan.cut is None:
            return planned
        if verdict.unmakeable and not call.given_result:
            return self._refused(planned, verdict.unmakeable)
        if verdict.shares_memory and planned.schedule == "parallel":
            raise unproven(SAME_MEMORY_AT_ONCE)
        if verdict.picky and not cuttable.named:
            return self._refused(planned, "it raises for some numbers of rows")
        return planned

    def _may_come_once(self, planned: Planned) -> bool:
        """Whether this batch is better run whole than tried, as no other may follow."""
        if planned.number or not self._first_may_be_whole or self._prover.always or planned.cuttable.together:
            return False
        return planned.batch.most_rows <= FEW_ROWS and self._guard.fits_whole(planned)

    def _will_cut(self, planned: Planned) -> bool:
        """Whether the step is to be cut: by its plan, for its memory, or by a reading that has more rows."""
        if planned.plan.cut is not None or self._guard.may_cut(planned):
            return True
        if planned.batch.most_rows <= planned.rows or planned.plan.fixed:
            return False
        return planned.cuttable.named or planned.batch.nbytes >= WORTH_TRYING

    def _again(self, planned: Planned, route: Route, slices: Sequence[UBatchSlice] | Cut | None) -> Planned:
        """The step planned anew, by the reading and the schedule that were found."""
        batch = planned.cuttable.batch
        plan = self._plan(batch, planned.memory, route.conditions, planned.number, slices)
        return replace(planned, batch=batch, schedule=route.schedule, note=route.note, plan=plan)

    def _refused(self, planned: Planned, reason: str) -> Planned:
        """The step run whole; where the caller named its parts or the policy it is an error.

        Where the function raised in the experiment, the step is run whole before that: if it raises then too,
        its own error is the answer. Where the whole batch may not fit, the error from the experiment is.
        """
        if planned.plan.cut is None:
            return self.whole(planned, planned.plan.reason)
        cuttable = planned.cuttable
        error = cuttable.error
        if cuttable.named and error is None:
            raise unproven(reason)
        if cuttable.named and error is not None and not self._guard.fits_whole(planned):
            cuttable.error = None  # what is raised is kept by nothing that its frames lead to
            try:
                raise error
            finally:
                del error
        cuttable.refused = reason
        return self.whole(planned, f"not cut: {reason}")


def _name(function: Callable[..., Any]) -> str:
    """The same on all ranks that run one program; a module is called otherwise in the process that started
    the others."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return str(named.__qualname__)
