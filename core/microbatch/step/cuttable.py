"""Whether a step may be cut at all, asked at the first moment that somebody wants to cut it.

Invariant: a step that runs whole costs no experiment. The plan asks when it cuts, recovery when a whole call
ran out of memory. What the answer is made of stays in `proof/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from microbatch.binding.batch import Batch, Binder, PartBinder
from microbatch.errors import UnprovenError
from microbatch.proof.prover import Asked, Prover
from microbatch.proof.verdict import Evidence, Verdict


@dataclass(slots=True)
class Cuttable:
    """The proof of one step."""

    prover: Prover
    """What is known of the function."""
    binder: Binder
    """Finds the batch of a call."""
    args: tuple[Any, ...]
    """Positional arguments of the call."""
    kwargs: Mapping[str, Any]
    """Its arguments by name."""
    streamed: bool
    """Whether the step moves host arrays to the device before it calls the function."""
    batch: Batch
    """Its batch, by the reading that was shown, or by the first."""
    verdict: Verdict | None = None
    """What was shown; None while nobody has asked."""
    evidence: Evidence | None = None
    """Rows that the experiment computed, where it was made for this step."""
    error: Exception | None = None
    """What the function raised in the experiment, where that is all that was seen."""
    _parts: PartBinder | None = None
    """Made when first asked for."""

    def prove(self, largest: int | None = None) -> Verdict:
        """The verdict; the experiment is made where there is none yet, for parts of up to `largest` rows."""
        if self.verdict is None:
            asked = Asked(
                binder=self.binder,
                args=self.args,
                kwargs=self.kwargs,
                streamed=self.streamed,
                largest=largest,
            )
            proof = self.prover.prove(asked)
            self.verdict, self.evidence, self.error = proof.verdict, proof.evidence, proof.error
            self.read_by(self.verdict)
        return self.verdict

    def look_up(self) -> None:
        """Take the verdict that is known for calls like this one, if there is any."""
        self.verdict = verdict = self.prover.known(self.batch, self.binder, streamed=self.streamed)
        if verdict is not None:
            self.read_by(verdict)

    def read_by(self, verdict: Verdict) -> None:
        """Find the batch by the reading that was shown to be right."""
        if verdict.reading:
            self.batch = self.binder.bind(self.args, self.kwargs, verdict.reading)

    def parts(self) -> PartBinder:
        """Finds the batch in a part of this one; raises UnprovenError where it must not be cut."""
        if self._parts is None:
            verdict = self.prove()
            if verdict.why_whole:
                raise unproven(verdict.why_whole)
            self._parts = self.binder.for_parts_of(self.batch, verdict.outputs)
        return self._parts

    def refute(self, reason: str) -> None:
        """Keep for later steps that calls like this one must not be cut."""
        binder = self.binder
        self.prover.refute(binder.bind(self.args, self.kwargs), binder, reason, streamed=self.streamed)
        self.verdict = Verdict(why_whole=reason)

    def refusal(self, reason: str) -> Exception:
        """What to raise where the caller asked for parts: the function's own error, where it raised one."""
        error = self.error
        if error is None:
            return unproven(reason)
        error.add_note("while it was tried on a few rows whether the function may be cut")
        return error


def unproven(reason: str) -> UnprovenError:
    """The error of a function that must not be cut where the caller asked for parts."""
    return UnprovenError(
        f"the function must not be cut: {reason}; call it whole, or declare in a Layout what each argument "
        "and output is (microbatch.check says more)"
    )
