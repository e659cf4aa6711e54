"""Whether a step may be cut at all, asked at the first moment that somebody wants to cut it.

Invariant: a step that runs whole costs no experiment. The plan asks when it cuts, recovery when a whole call
ran out of memory. What the answer is made of stays in `proof/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from microbatch.binding.batch import Batch
from microbatch.binding.binder import Binder, PartBinder
from microbatch.cutting.slices import BatchShape, Cut
from microbatch.errors import UnprovenError
from microbatch.proof.asked import Asked, StepResult
from microbatch.proof.prover import Prover
from microbatch.proof.verdict import Evidence, Verdict


class Cuttable(Struct):
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
    named: bool
    """Whether the caller named the parts or the policy, so that running whole is no answer."""
    first: Batch
    """Its batch, by the first reading."""
    batch: Batch
    """The same by the reading that was shown to be right."""
    together: bool = False
    """Whether other ranks run the step too."""
    inside_requests: bool = False
    """Whether the step cuts requests in two."""
    largest: int | None = None
    """Requests in its largest planned part; None where none is planned."""
    fewest: int | None = None
    """Fewest rows that its parts shall have, where these follow their times; None for any other step."""
    compiled: bool = False
    """Whether the function is compiled anew for each number of rows."""
    tryable: tuple[int, ...] = ()
    """Sizes of its planned parts, largest first, that need no watching of the memory."""
    verdict: Verdict | None = None
    """What was shown; None while nobody has asked."""
    evidence: Evidence | None = None
    """Rows that the experiment computed, where it was made for this step."""
    error: Exception | None = None
    """What the function raised in the experiment, where that is all that was seen."""
    refused: str = ""
    """Why the step runs whole; empty where it may be cut, or needs not."""
    _parts: PartBinder | None = None
    """Made when first asked for."""

    def prove(self) -> Verdict:
        """The verdict; the experiment is made where there is none yet."""
        if self.verdict is None:
            proof = self.prover.prove(self._asked())
            self.verdict, self.evidence, self.error = proof.verdict, proof.evidence, proof.error
            self._read_by(self.verdict)
        return self.verdict

    def look_up(self) -> None:
        """Take the verdict that is known for calls like this one, if there is any."""
        self.verdict = verdict = self.prover.known(self._asked())
        if verdict is not None:
            self._read_by(verdict)

    def planned(self, cut: Cut) -> None:
        """Take note of where the step is to be cut; a verdict for whole requests says nothing of cut ones."""
        self.largest = max(piece.num_reqs for piece in cut.slices)
        inside = cuts_inside(cut, self.batch.shape)
        if inside != self.inside_requests:
            self.inside_requests, self.verdict = inside, None
        if self.verdict is None:
            self.look_up()

    def parts(self) -> PartBinder:
        """Finds the batch in a part of this one; raises UnprovenError where it must not be cut."""
        if self._parts is None:
            if self.verdict is None:
                self.look_up()
            verdict = self.prove()
            if verdict.why_whole:
                raise unproven(verdict.why_whole)
            if self.binder.given is not None and self.batch.shape.query_start_loc is not None:
                raise unproven(
                    "its step is padded, and the requests of a part do not say where padding begins"
                )
            whole_requests = not self.inside_requests and self.batch.shape.query_start_loc is not None
            splitter = "request-aligned" if whole_requests else "even"
            self._parts = PartBinder(self.binder, self.batch, verdict.outputs, splitter)
        return self._parts

    def contradiction(self, step: StepResult) -> str:
        """What the result of the step has otherwise than the experiment; nothing where it may be cut."""
        evidence = self.evidence
        assert evidence is not None, "asked after an experiment"
        reason = evidence.contradiction(step.result, step.device, given=step.given)
        return reason or self.prover.look_again(self._asked(), self.batch, evidence, step)

    def refute(self, reason: str) -> None:
        """Keep for later steps that calls like this one must not be cut."""
        self.prover.refute(self._asked(), reason)
        self.verdict, self.evidence = Verdict(why_whole=reason), None

    def raised_whole(self) -> None:
        """The step has raised. Where that is all that trying it has shown, later batches are tried again."""
        if self.verdict is not None and self.verdict.raised:
            self.prover.forget(self._asked())

    def _asked(self) -> Asked:
        return Asked(
            binder=self.binder,
            args=self.args,
            kwargs=self.kwargs,
            first=self.first,
            streamed=self.streamed,
            inside_requests=self.inside_requests,
            largest=self.largest,
            fewest=self.fewest,
            together=self.together,
            compiled=self.tryable if self.compiled else None,
        )

    def _read_by(self, verdict: Verdict) -> None:
        """Find the batch by the reading that was shown to be right."""
        if verdict.reading:
            self.batch = self.binder.bind(self.args, self.kwargs, verdict.reading)


def cuts_inside(cut: Cut, shape: BatchShape) -> bool:
    """Whether any part of `cut` begins inside a request."""
    if shape.query_start_loc is None or cut.permutation is not None:
        return False
    starts = [piece.token_slice.start for piece in cut.slices]
    return not np.isin(starts, shape.query_start_loc).all()


def unproven(reason: str) -> UnprovenError:
    """The error of a function that must not be cut where the caller asked for parts."""
    return UnprovenError(
        f"the function must not be cut: {reason}; call it whole, or declare in a Layout what each argument "
        "and output is (microbatch.check says more)"
    )
