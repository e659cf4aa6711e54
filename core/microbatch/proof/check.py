"""Find out whether a function may be cut: run it whole and cut at several places, and compare.

Invariant: every call gets fresh copies of the arrays that are cut, so a function that writes into its inputs
is compared fairly, and the caller's arrays stay as they are. A "yes" is evidence from the cuts that were
tried, a "no" is certain for these inputs. What is found: batch statistics, means over rows, state, random
numbers, and a shape that depends on the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from microbatch.arrays.comparing import equal_values
from microbatch.arrays.comparison import Comparison, Difference
from microbatch.arrays.looks import is_array
from microbatch.arrays.trees import leaves_of
from microbatch.binding.batch import Batch
from microbatch.binding.call import Call
from microbatch.binding.paths import declared_rules, flatten_by_layout
from microbatch.binding.rules import Layout
from microbatch.cutting.slices import UBatchSlice
from microbatch.errors import ArgumentValueError, OutputMismatchError
from microbatch.extend.device import Owners
from microbatch.extend.protocols import Backend
from microbatch.gathering.gather import Outputs
from microbatch.gathering.run_parts import Parts, run_parts
from microbatch.loading.choose_backend import BackendChoice
from microbatch.loading.plugins import default_plugins, register_containers
from microbatch.options.fields import UBatchConfig
from microbatch.options.raised import described, text_of
from microbatch.proof.asked import Asked
from microbatch.proof.module_modes import StateWatch
from microbatch.proof.prover import Prover
from microbatch.proof.report import CheckReport, why_not
from microbatch.proof.trial_call import copied
from microbatch.proof.trial_cuts import Trial, trial_cuts
from microbatch.proof.verdict import Verdict
from microbatch.turns.context import Apart

OnTrial = Callable[[int, int], None]
"""on_trial(done, total)"""
RAISED = "a part raised"
"""How the text of a difference begins where a part raised an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How thoroughly a check looks."""

    seed: int = 0
    """Which places are drawn."""
    drawn: int = 4
    """Cuts at drawn places, beside the fixed ones."""
    rtol: float | None = None
    """How far two numbers may differ and count as equal, relative to the value; None: by dtype."""
    atol: float | None = None
    """The same, absolute; None: `rtol` times the mean magnitude of the output."""


def check(
    f: Callable[..., Any],
    *inputs: Any,
    backend: str = "auto",
    layout: Layout | None = None,
    seed: int = 0,
    cuts: int = 4,
    rtol: float | None = None,
    atol: float | None = None,
    **kwargs: Any,
) -> CheckReport:
    """Say whether `f(*inputs, **kwargs)` may run as micro-batches; if not, which output differs where.

    Cuts that are tried: single rows, halves, one row from each end, `cuts` places drawn by `seed`, and packed
    in another order where requests have lengths. `rtol` and `atol` default by dtype (float32: 1e-4 of the
    value plus 1e-4 of the mean magnitude). Keywords not named here go to `f`. Raises ArgumentValueError for a
    batch of fewer than 2 rows, LayoutError for inputs that cannot be cut, and what `f` raises on the whole
    batch.
    """
    search = Search(seed=seed, drawn=cuts, rtol=rtol, atol=atol)
    return check_call(Call.of(f, inputs, kwargs, layout), backend, search)


def check_call(
    call: Call, backend: str = "auto", search: Search | None = None, *, on_trial: OnTrial | None = None
) -> CheckReport:
    """As `check`, of a call that is there already; `on_trial(done, total)` hears of each cut."""
    with Apart():
        return _check(call, backend, search or Search(), on_trial)


def _check(call: Call, backend: str, search: Search, on_trial: OnTrial | None) -> CheckReport:
    register_containers()
    chosen = BackendChoice(backend, default_plugins()).of(call.args, call.kwargs)
    first = call.batch(chosen)
    rows = first.most_rows
    if rows < 2:
        count = "1 row" if rows == 1 else f"{rows} rows"
        raise ArgumentValueError(
            f"the batch has only {count}, and nothing can be cut below 2; pass more rows"
        )
    binder, modes = call.binder(chosen, _backend_of), StateWatch(call.function).modes
    asked = Asked(binder=binder, args=call.args, kwargs=call.kwargs, first=first, streamed=False)
    verdict = Prover(call.function, UBatchConfig(), modes).prove(asked).verdict
    batch = binder.bind(call.args, call.kwargs, verdict.reading)
    trials = trial_cuts(batch.shape, search.seed, search.drawn)
    return Checking(chosen, call, batch, verdict, search).run(trials, on_trial)


def _backend_of(array: object) -> Backend:
    return default_plugins().backend_for([array])


class Checking:
    """One check: the output of the whole batch, and what the cuts made of it."""

    def __init__(self, backend: Backend, call: Call, batch: Batch, verdict: Verdict, search: Search) -> None:
        self.backend = backend
        self.owners = batch.owners or Owners(backend)
        self.verdict = verdict
        self.f = call.function
        self.batch = batch
        self.layout = call.layout
        self.writes_inputs = False
        whole, spec = flatten_by_layout(self.call_whole(), self.layout, "outputs", ())
        self.comparison = Comparison(spec, whole, search.rtol, search.atol)
        rules = declared_rules(spec, self.layout, "outputs", ()) or ()
        self.collected = {index for index, (rule, _) in enumerate(rules) if rule and rule.kind == "collect"}
        """Outputs that are lists over the ubatches, which the whole batch has no counterpart of."""

    def run(self, trials: Sequence[Trial], on_trial: OnTrial | None = None) -> CheckReport:
        """Try all cuts, unless two calls on the whole batch differ already.

        The whole batch is called once more at the end: another output shows state that parts left behind.
        """
        compare = self.comparison.differences
        again = compare(self.call_whole(), "the whole batch again")
        if again:
            return self.report((), again, self._why_unequal(again))
        found = []
        for number, trial in enumerate(trials, 1):
            found.append(self.tried(trial))
            if on_trial is not None:
                on_trial(number, len(trials))
        labels = tuple(trial.label for trial in trials)
        differences = [difference for several in found for difference in several]
        after = compare(self.call_whole(), "the whole batch after the cuts")
        if after:
            return self.report(
                labels,
                [*differences, *after],
                "the whole batch gives another output once parts were called: calls change state that later "
                "calls depend on",
            )
        failed = [trial for trial, several in zip(trials, found, strict=True) if several]
        raised = all(difference.parts.startswith(RAISED) for difference in differences)
        return self.report(labels, differences, why_not(trials, failed, raised=raised))

    def _why_unequal(self, again: Sequence[Difference]) -> str:
        """Why two calls on the same whole batch gave different outputs."""
        unknown = [each.path for each in again if each.path in self.comparison.unknown]
        if unknown:
            return (
                f"{unknown[0]} is of a type that is not known as a container and cannot be compared, so it "
                "cannot be put together either; return a dict or a tuple, or register the type (hook "
                "microbatch_register_containers)"
            )
        return (
            "two calls on the same whole batch give different outputs: the function draws random numbers "
            "or keeps state"
        )

    def copies(self) -> Batch:
        """The batch with copies of the arrays that are cut, so that what is written stays apart."""
        return self.batch.permuted(range(self.batch.shape.num_requests), self.backend)

    def call_whole(self) -> Any:
        """The function on fresh copies of the whole batch."""
        shape = self.batch.shape
        everything = UBatchSlice.from_range(0, shape.num_tokens, 0, shape.num_requests)
        args, kwargs = self.copies().part(everything)
        arrays = [leaf for leaf in leaves_of((args, kwargs)) if is_array(leaf)]
        before = [copied(array, self.owners) for array in arrays]
        output = self.f(*args, **kwargs)
        self.writes_inputs |= not all(map(equal_values, before, arrays))
        return output

    def tried(self, trial: Trial) -> list[Difference]:
        """Differences that one cut makes; an error of a part is one too."""
        try:
            outputs = Outputs(layout=self.layout, proven=self.verdict.outputs)
            parts = Parts(self.copies(), trial.cut, self.backend, outputs)
            output = run_parts(parts, lambda args, kwargs, rows: self.f(*args, **kwargs))
        except OutputMismatchError as error:
            text = text_of(error)
        except Exception as error:  # noqa: BLE001  # whatever a part raises is what was looked for
            text = f"{RAISED} {described(error)}"
        else:
            return self.comparison.differences(output, trial.label, self.collected)
        return [Difference(path="", row=None, whole="", parts=text, cut=trial.label)]

    def report(self, cuts: tuple[str, ...], differences: Sequence[Difference], reason: str) -> CheckReport:
        """The report; `reason` is why the function must not be cut, if there are differences."""
        relative = self.comparison.relative
        equal = f"in every cut the outputs equal the whole batch's, to {relative:.1e} of their largest value"
        return CheckReport(
            cuttable=not differences,
            absolute=self.comparison.absolute,
            relative=relative,
            cuts=cuts,
            differences=tuple(differences),
            reason=reason if differences else equal,
            writes_inputs=self.writes_inputs,
        )
