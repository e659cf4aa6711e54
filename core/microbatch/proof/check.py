"""Find out whether a function may be cut: run it whole and cut at several places, and compare.

Invariant: every call gets fresh copies of the arrays that are cut, so a function that writes into its inputs is
compared fairly, and the caller's arrays stay as they are. A "yes" is evidence from the cuts that were tried, a "no" is
certain for these inputs. What is found: batch statistics, means over rows, state, random numbers, a shape that
depends on the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from microbatch.arrays.comparing import Comparison, Difference, Tolerance, compare
from microbatch.arrays.equal import same
from microbatch.binding.batch import Batch, Layout, bind
from microbatch.binding.paths import declared_rules, flatten
from microbatch.binding.runnable import Wrapped, check_runnable, parameter_names
from microbatch.cutting.cut import Cut, UBatchSlice
from microbatch.errors import ArgumentValueError, OutputMismatchError
from microbatch.extend.protocols import Backend
from microbatch.gathering.gather import Outputs
from microbatch.gathering.run_parts import Parts, run_parts
from microbatch.loading.choose_backend import BackendChoice
from microbatch.loading.plugins import default_plugins, register_containers
from microbatch.proof.trial_cuts import Trial, trial_cuts

__all__ = ["CheckReport", "check", "check_with"]


RAISED = "a part raised"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a check found; true when the function may be cut."""

    cuttable: bool
    """Whether every cut that was tried gave the output of the whole batch."""
    absolute: float
    """Largest absolute difference among the outputs that counted as equal."""
    relative: float
    """Largest difference of an output divided by that output's largest magnitude."""
    cuts: tuple[str, ...]
    """The cuts that were tried: how, and the sizes."""
    differences: tuple[Difference, ...]
    """The first difference of each output in each cut that has one."""
    reason: str
    """Why it may not be cut, or to which difference it may."""
    writes_inputs: bool = False
    """Whether it wrote into arrays it was given; a part that runs out of memory is called again with what it left."""

    def __bool__(self) -> bool:
        return self.cuttable

    def __str__(self) -> str:
        verdict = "may be cut" if self.cuttable else "must not be cut"
        lines = [f"{verdict}: {self.reason}"]
        if self.writes_inputs:
            lines.append(
                "  it writes into its inputs: a part that runs out of memory is run again on what was left there,"
                " so let it write into a copy"
            )
        first = {difference.path: difference for difference in reversed(self.differences)}
        lines += [f"  {difference}" for difference in reversed(first.values())]
        if len(self.differences) > len(first):
            lines.append(f"  and {len(self.differences) - len(first)} more in other cuts")
        lines.append(f"cuts tried: {'; '.join(self.cuts) or 'none'}")
        return "\n".join(lines)


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
    """Say whether `f(*inputs, **kwargs)` may run as micro-batches, to which difference, or which output differs where.

    Cuts: single rows, halves, one row from each end, `cuts` drawn places (by `seed`), and packed in another order
    where requests have lengths. `rtol` and `atol` default by dtype (float32: 1e-4 of the value plus 1e-4 of the
    mean magnitude). Keywords not named here go to `f`. Raises ArgumentValueError for a batch of fewer than 2 rows,
    LayoutError for inputs that cannot be cut, and what `f` raises on the whole batch.
    """
    if isinstance(f, Wrapped):
        layout, f = layout or f.layout, f.unwrap()
    check_runnable(f)
    register_containers()
    chosen = BackendChoice(backend, default_plugins()).of(inputs, kwargs)
    names = parameter_names(f)
    return check_with(chosen, f, inputs, kwargs, layout, names, seed, cuts, Tolerance(rtol=rtol, atol=atol))


def check_with(
    backend: Backend,
    f: Callable[..., Any],
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
    layout: Layout | None = None,
    names: Sequence[str] = (),
    seed: int = 0,
    cuts: int = 4,
    tolerance: Tolerance | None = None,
) -> CheckReport:
    """As `check`, on a backend that is there already."""
    batch = bind(layout, inputs, kwargs, backend=backend, names=names)
    rows = batch.shape.num_tokens
    if rows < 2:
        raise ArgumentValueError(
            f"the inputs have {rows} rows, so nothing can be cut; check with at least 2 rows"
        )
    return Checking(backend, f, batch, layout, tolerance or Tolerance()).run(
        trial_cuts(batch.shape, seed, cuts)
    )


class Checking:
    """One check: the whole output, and what the cuts made of it."""

    def __init__(
        self,
        backend: Backend,
        f: Callable[..., Any],
        batch: Batch,
        layout: Layout | None,
        tolerance: Tolerance,
    ) -> None:
        self.backend = backend
        self.f = f
        self.batch = batch
        self.layout = layout
        self.tolerance = tolerance
        self.seen = Comparison()
        self.writes_inputs = False
        self.whole, self.spec = flatten(self.call_whole(), layout, "outputs", ())
        rules = declared_rules(self.spec, layout, "outputs", ()) or ()
        collected = (
            index for index, (rule, _) in enumerate(rules) if rule is not None and rule.kind == "collect"
        )
        self.skip: frozenset[int] = frozenset(collected)

    def run(self, trials: Sequence[Trial]) -> CheckReport:
        """Try all cuts, unless two calls on the whole batch differ already."""
        again = self.compare(self.call_whole(), "the whole batch again", frozenset())
        if again:
            return self.report(
                (), again, "two calls on the same batch differ: it draws random numbers or keeps state"
            )
        found = [self.tried(trial) for trial in trials]
        labels = tuple(trial.label for trial in trials)
        differences = [difference for several in found for difference in several]
        after = self.compare(self.call_whole(), "the whole batch after the cuts", frozenset())
        if after:
            return self.report(
                labels, [*differences, *after], "calls change state that later calls depend on"
            )
        failed = [trial for trial, several in zip(trials, found, strict=True) if several]
        raised = all(difference.parts.startswith(RAISED) for difference in differences)
        reason = why_not(trials, failed, raised=raised)
        return self.report(labels, differences, reason)

    def call_whole(self) -> Any:
        """The function on fresh copies of the whole batch."""
        shape = self.batch.shape
        everything = UBatchSlice.from_range(0, shape.num_tokens, 0, shape.num_requests)
        args, kwargs = self.batch.permuted(range(shape.num_requests), self.backend).part(everything)
        arrays = [leaf for leaf in flatten((args, kwargs), None, "inputs", ())[0] if self.backend.owns(leaf)]
        before = [self.copied(array) for array in arrays]
        output = self.f(*args, **kwargs)
        self.writes_inputs |= not all(same(was, now) for was, now in zip(before, arrays, strict=True))
        return output

    def copied(self, array: Any) -> Any:
        """A copy of `array`."""
        copy = self.backend.empty(array.shape, array)
        self.backend.copy(copy, array)
        return copy

    def tried(self, trial: Trial) -> list[Difference]:
        """Differences that one cut makes; an error of a part is one too."""
        try:
            output = self.gathered(trial.cut)
        except OutputMismatchError as error:
            return [Difference(path="", row=None, whole="", parts=str(error), cut=trial.label)]
        except Exception as error:  # noqa: BLE001  # whatever a part raises is what was looked for
            text = f"{RAISED} {type(error).__name__}: {error}"
            return [Difference(path="", row=None, whole="", parts=text, cut=trial.label)]
        return self.compare(output, trial.label, self.skip)

    def gathered(self, made: Cut) -> Any:
        """The output put together from the parts of a cut; an input that is written is a copy, so others stay whole."""
        shape = self.batch.shape
        batch = self.batch.permuted(range(shape.num_requests), self.backend)
        outputs = Outputs(layout=self.layout)
        parts = Parts(batch, made, self.backend, outputs)
        return run_parts(parts, lambda args, kwargs, rows: self.f(*args, **kwargs))

    def compare(self, output: Any, label: str, skip: frozenset[int]) -> list[Difference]:
        """Differences of `output` from that of the first whole call."""
        return compare(self.spec, self.whole, output, label, self.tolerance, self.seen, skip)

    def report(self, cuts: tuple[str, ...], differences: Sequence[Difference], reason: str) -> CheckReport:
        """The report; `reason` is why not."""
        if not differences:
            reason = f"outputs equal the plain call's to {self.seen.relative:.1e} of their largest value"
        return CheckReport(
            cuttable=not differences,
            absolute=self.seen.absolute,
            relative=self.seen.relative,
            cuts=cuts,
            differences=tuple(differences),
            reason=reason,
            writes_inputs=self.writes_inputs,
        )


def why_not(trials: Sequence[Trial], failed: Sequence[Trial], *, raised: bool = False) -> str:
    """The likeliest reason, from which cuts differ and which do not; `raised` says that no output was compared."""
    if failed and all(trial.inside_request for trial in failed) and len(failed) < len(trials):
        return (
            "only cuts inside a request differ; cut between requests (splitter='request-aligned' or 'packed')"
        )
    if failed and all(trial.reordered for trial in failed) and len(failed) < len(trials):
        return "only the cut that reorders requests differs: outputs depend on a row's place in the batch"
    if failed and all(trial.single_rows for trial in failed) and len(failed) < len(trials):
        return "only parts of one row differ: the function treats a batch of 1 in another way"
    if raised:
        return "parts fail where the whole batch does not; see what it needs of a batch, or call it whole"
    return (
        "rows depend on each other or on their place (batch statistics, a mean or normalisation over rows), or an "
        "output is not per row; call it whole, or declare that output reduce(fn), collect() or replicate()"
    )
