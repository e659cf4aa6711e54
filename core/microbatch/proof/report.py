"""What a check found, as a record and as text.

Invariant: the first line of the text says whether the function may be cut, and why or why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from microbatch.arrays.comparison import Difference
from microbatch.proof.trial_cuts import Trial


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
    """Why it must not be cut, or how close the outputs are where it may."""
    writes_inputs: bool = False
    """Whether it wrote into its inputs; a part that ran out of memory is called again, on what it left."""

    def __bool__(self) -> bool:
        return self.cuttable

    def __str__(self) -> str:
        verdict = "may be cut" if self.cuttable else "must not be cut"
        lines = [f"{verdict}: {self.reason}"]
        if self.writes_inputs:
            lines.append(
                "  it writes into its inputs: after running out of memory a part is called again, on what "
                "was left there; let the function write into a copy"
            )
        first = {difference.path: difference for difference in reversed(self.differences)}
        lines += [f"  {difference}" for difference in reversed(first.values())]
        if len(self.differences) > len(first):
            lines.append(f"  and {len(self.differences) - len(first)} more in other cuts")
        return "\n".join([*lines, f"cuts tried: {'; '.join(self.cuts) or 'none'}"])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def why_not(trials: Sequence[Trial], failed: Sequence[Trial], *, raised: bool = False) -> str:
    """The likeliest reason, from which cuts differ; `raised`: all differences are errors of parts."""
    some = 0 < len(failed) < len(trials)
    if some and all(trial.inside_request for trial in failed):
        return (
            "outputs differ only where a request is cut in two; cut between requests "
            "(splitter='request-aligned' or 'packed')"
        )
    if some and all(trial.reordered for trial in failed):
        return "outputs differ only where requests change places: they depend on a row's place in the batch"
    if some and all(trial.single_rows for trial in failed):
        return (
            "outputs differ only in parts of one row: the function treats a batch of one row in another way"
        )
    if raised:
        return "parts fail where the whole batch does not; see what the function needs, or call it whole"
    return (
        "rows depend on each other or on their place (batch statistics, a mean or normalisation over rows), "
        "or an output is not per row; call it whole, or declare that output reduce(fn), collect() or "
        "replicate()"
    )
