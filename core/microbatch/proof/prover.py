"""Shows of a wrapper's function, before it is cut for the first time, that it may be.

Invariant: nothing that was read from sizes is trusted before an experiment has shown it. Readings are tried
in order; the first that is not refuted is kept for the structure of the call, or, where all are, why not. An
experiment that runs out of memory shows nothing and is not kept. Two threads may try the same at once; they
come to the same verdict, so nothing is locked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace

from microbatch.arrays.comparing import HostArray
from microbatch.arrays.looks import is_array
from microbatch.binding.batch import Batch
from microbatch.binding.leaf_parts import Rows
from microbatch.binding.readings import MOST, NoReadingError
from microbatch.errors import LayoutError, StepOutOfMemoryError
from microbatch.extend.device import Device, meaning_of
from microbatch.extend.records import FailureKind
from microbatch.options.fields import UBatchConfig
from microbatch.options.raised import note, text_of
from microbatch.proof.asked import Asked, Proof, StepResult
from microbatch.proof.host_values import HostValues
from microbatch.proof.output_kinds import Refuted
from microbatch.proof.sample import HUGE_ROWS, MOST_BYTES, OF_COMPILED, ROWS, positions_of
from microbatch.proof.second_look import chosen, says_little
from microbatch.proof.shown import Raised, Shown, Subject
from microbatch.proof.special_rows import with_special
from microbatch.proof.verdict import TRUSTED, UNTRIED, Evidence, Verdict
from microbatch.proof.verdicts import Verdicts
from microbatch.turns.kept_errors import without_frames

LOOKED_AT = 1 << 20
"""Bytes of a batch up to which all its rows are looked at (0.2 ms); a larger one is tried again (1 ms)."""
FEWEST = 2
"""Rows of the smallest sample."""
MORE = (96, 768)
"""Rows that are tried where the function raises on few."""


class Prover:
    """One per wrapper; usable from several threads at once."""

    __slots__ = ("_draw", "_function", "_modes", "_verdicts", "always", "remarkable")

    def __init__(
        self, function: Callable[..., Any], config: UBatchConfig, modes: Callable[[], Hashable]
    ) -> None:
        """`modes()` is what of the function itself decides what it does (whether a module trains)."""
        self._function = function
        self._modes = modes
        self._verdicts = Verdicts()
        self._draw = random.Random(0)
        self.remarkable = False
        """Whether any verdict says more than that a structure may be cut as its sizes say."""
        self.always = config.verify == "always"
        """Whether each step is to be shown anew, at drawn rows."""

    def known(self, asked: Asked) -> Verdict | None:
        """The verdict for calls like this one; None where there is none yet."""
        untried, batch = _untried(asked), asked.first
        if untried is not None:
            return untried
        verdict = self._verdicts.find(*self._key(asked))
        if verdict is not None and verdict.blind and not verdict.provisional:
            return None
        if verdict is None or not verdict.provisional:
            return verdict
        small = batch.nbytes <= LOOKED_AT
        return verdict if small and _all_alike(batch, asked.binder.device) else None

    def prove(self, asked: Asked) -> Proof:
        """Try the readings in order; the verdict is kept, the evidence is for the step that follows.

        Nothing is tried where all is declared or read strictly, nor where other ranks would wait for it.
        """
        untried = _untried(asked)
        if untried is not None:
            return Proof(untried)
        refuted: list[Exception] = []
        constant: tuple[Shown, bool] | None = None
        too_few = False
        for number, batch in self._readings(asked):
            if batch.shape.num_tokens < 2:  # cannot be cut, so it shows nothing of larger batches
                too_few = True
                continue
            try:
                shown, picky = self._try(asked, batch)
                if number and not shown.has_rows():
                    raise Refuted("no output has an entry per row")
            except (Refuted, LayoutError) as error:
                without_frames(error)
                refuted.append(error)
            else:
                if shown.has_rows():
                    return self._accept(asked, shown, number, picky=picky)
                constant = shown, picky  # what it cuts may be a setting, and the batch what goes whole
        if constant is not None:
            return self._accept(asked, constant[0], 0, picky=constant[1])
        if not refuted:
            return Proof(Verdict(why_whole="a single row cannot be cut"))
        # a call that raised says least: it may have been given weights in place of rows
        worst = min(refuted, key=lambda each: isinstance(each, Raised))
        verdict = Verdict(why_whole=str(worst), raised=isinstance(worst, Raised))
        if not too_few:
            self._keep(asked, verdict)
        if not isinstance(worst, Raised):
            return Proof(verdict)
        note(worst.original, f"raised at {worst.where}")
        return Proof(verdict, error=worst.original)

    def _accept(self, asked: Asked, shown: Shown, number: int, *, picky: bool) -> Proof:
        alike = _all_alike(shown.sample.batch, asked.binder.device)
        verdict = _accepted(shown, number, picky=picky, provisional=alike, always=self.always)
        evidence = Evidence(shown)
        verdict = replace(verdict, fewest=self._fewest(asked, shown, number))
        if any(map(says_little, shown.seen)):
            verdict = replace(verdict, plain=False, blind=True)
        self._keep(asked, verdict)
        return Proof(verdict, evidence)

    def _fewest(self, asked: Asked, shown: Shown, number: int) -> int:
        """Fewest rows of a part. Only where it shall have fewer than were tried is one row tried alone."""
        fewest = min(piece.num_tokens for piece in shown.sample.cut.slices)
        if number or asked.fewest is None or asked.fewest >= fewest:
            return fewest
        few = min(HUGE_ROWS, len(shown.sample.requests))  # 12 take longer than a step of 512 rows may
        positions = self._positions(asked, asked.first, few)
        try:
            alone = self._experiment(asked, asked.first, positions, 1)
        except (Refuted, LayoutError) as error:
            without_frames(error)
            return fewest
        return 1 if alone.outputs == shown.outputs else fewest

    def look_again(self, asked: Asked, batch: Batch, evidence: Evidence, step: StepResult) -> str:
        """Try rows that the result of the step tells apart; why the function must not be cut, or nothing.

        The verdict is settled by the first step whose result tells any apart.
        """
        verdict, settled = self._verdicts.find(*self._key(asked)), True
        if verdict is None or not verdict.blind or verdict.writes_inputs:
            return ""
        count, sizes = len(evidence.shown.sample.requests), _two_sizes(batch, asked)
        size = sizes[0] if sizes is not None and sum(sizes) == count else None
        for output in evidence.outputs_of(step.result, step.device, given=step.given):
            if not says_little(output.seen):
                continue
            sets = chosen(output, batch.shape, count)
            settled = settled and bool(sets)
            for positions in sets:
                among = with_special(batch, positions, step.device, exact=size is not None)
                reason = self._contradicted(asked, batch, among, size, step)
                if reason:
                    return reason
        if settled:
            remarkable = verdict.reading or verdict.picky or verdict.why_sequential or verdict.unmakeable
            plain = not (remarkable or verdict.provisional or self.always)
            self._keep(asked, replace(verdict, blind=False, plain=plain))
        return ""

    def _contradicted(
        self, asked: Asked, batch: Batch, positions: Rows, size: int | None, step: StepResult
    ) -> str:
        """What differs where the rows at `positions` are tried alone, the first part being of `size`."""
        try:
            shown = self._experiment(asked, batch, positions, size)
        except Raised:
            return ""  # it minds their number, which is told elsewhere
        except Refuted as error:
            return str(error)
        return Evidence(shown).contradiction(step.result, step.device, given=step.given)

    def refute(self, asked: Asked, reason: str) -> None:
        """Keep that calls like this one must not be cut: a step has shown what the experiment had not."""
        self._keep(asked, Verdict(why_whole=reason))

    def forget(self, asked: Asked) -> None:
        """The whole batch made the function raise as well, which says nothing of other batches."""
        self._verdicts.forget(*self._key(asked))

    def _readings(self, asked: Asked) -> Iterator[tuple[int, Batch]]:
        """The batch by each reading, with its number; one by which it cannot be cut is passed over."""
        yield 0, asked.first
        for number in range(1, MOST):
            try:
                batch = asked.binder.bind(asked.args, asked.kwargs, number)
            except NoReadingError:
                return
            except LayoutError:
                continue
            yield number, batch

    def _try(self, asked: Asked, batch: Batch) -> tuple[Shown, bool]:
        """The experiment, with other numbers of rows where the function raises, and whether it did.

        Running out of memory is no such error: fewer rows are tried.
        """
        first: Raised | None = None
        picky = False
        wanted, others = min(ROWS, batch.shape.num_requests), _other_sizes(batch, asked.largest)
        sizes = _two_sizes(batch, asked)
        if sizes is not None:
            try:
                positions = self._positions(asked, batch, sum(sizes), exact=True)
                return self._experiment(asked, batch, positions, sizes[0]), False
            except Raised as error:
                without_frames(error)  # other numbers of rows may do
        while True:
            try:
                shown = self._experiment(asked, batch, self._positions(asked, batch, wanted))
                return shown, picky and self._minds_their_number(asked, batch, shown)
            except Raised as error:
                without_frames(error)
                first = first or error
                memory = meaning_of(asked.binder.device.backend, error.original) is FailureKind.OOM
                if memory and wanted <= FEWEST:
                    raise _too_large(error) from error.original
                if not memory and not others:
                    raise first from None
            picky = picky or not memory
            wanted = max(FEWEST, wanted // 2) if memory else others.pop(0)

    def _minds_their_number(self, asked: Asked, batch: Batch, shown: Shown) -> bool:
        """Whether it was the number of rows that it raised for, and not one of the rows.

        Then it raises for as many of the rows that it has just taken, too.
        """
        taken = shown.sample.requests
        try:
            self._experiment(asked, batch, np.sort(np.resize(taken, min(ROWS, batch.shape.num_requests))))
        except Refuted:
            return True
        return False

    def _positions(self, asked: Asked, batch: Batch, wanted: int, *, exact: bool = False) -> Rows:
        """The rows to try: some of them special, the others spread over the batch, or drawn."""
        some = positions_of(batch, wanted, self._draw if self.always else None)
        if batch.shape.lengths is not None:
            return some
        return with_special(batch, some, asked.binder.device, exact=exact)

    def _experiment(self, asked: Asked, batch: Batch, positions: Rows, size: int | None = None) -> Shown:
        # imported when a function is first cut, as few programs cut in their first millisecond
        from microbatch.proof.experiment import Experiment

        binder = asked.binder
        subject = Subject(
            function=self._function,
            binder=binder,
            moved=asked.streamed and binder.device.transfer is not None,
            inside_requests=asked.inside_requests,
            first=size,
        )
        return Experiment(subject, batch, positions).run()

    def _key(self, asked: Asked) -> tuple[Hashable, tuple[Hashable, ...]]:
        """What the verdict is kept for, and the numbers among the arguments."""
        alike, numbers = asked.first.structure
        ways = asked.streamed, asked.inside_requests
        return (asked.binder.device.backend.name, ways, alike, self._modes()), numbers

    def _keep(self, asked: Asked, verdict: Verdict) -> None:
        self._verdicts.keep(*self._key(asked), verdict)
        self.remarkable = self.remarkable or not verdict.plain


def _untried(asked: Asked) -> Verdict | None:
    """The verdict of what is not to be tried; None for what is."""
    if asked.binder.strict or asked.first.declared:
        return TRUSTED
    return UNTRIED if asked.together else None


def _too_large(error: Raised) -> StepOutOfMemoryError:
    return StepOutOfMemoryError(
        f"memory ran out ({text_of(error.original)}) when the function was tried on {FEWEST} rows to see"
        " whether it may be cut; declare in a Layout what each argument and output is, and it runs row by row"
        " untried"
    )


def _two_sizes(batch: Batch, asked: Asked) -> tuple[int, int] | None:
    """Rows of the smaller and the larger call on a compiled function: those of its parts where they may be.

    None for any other function, and where there are too few rows or requests with tokens of their own.
    """
    shape, allowed = batch.shape, asked.compiled
    if allowed is None or shape.num_tokens != shape.num_requests or shape.query_start_loc is not None:
        return None
    few, most = OF_COMPILED
    sizes = [size for size in allowed if FEWEST < size and 2 * size * batch.bytes_per_unit <= MOST_BYTES]
    pair = (sizes[1], sizes[0]) if len(sizes) > 1 else (few, sizes[0]) if sizes else (few, most)
    smaller, larger = min(pair), max(pair)
    if smaller == larger:
        smaller -= 1
    total = smaller + larger
    fits = total <= shape.num_requests and total * batch.bytes_per_unit <= MOST_BYTES
    return (smaller, larger) if fits else None


def _other_sizes(batch: Batch, largest: int | None) -> list[int]:
    """Rows to try where the function raises on a few: as many as it will be given, then more."""
    given = [] if largest is None or largest >= ROWS else [max(FEWEST, largest)]
    return given + [rows for rows in MORE if rows <= batch.shape.num_requests]


def _accepted(shown: Shown, reading: int, *, picky: bool, provisional: bool, always: bool) -> Verdict:
    remarkable = reading or picky or provisional or shown.why_sequential or shown.unmakeable
    return Verdict(
        plain=not remarkable and not always,
        provisional=provisional,
        reading=reading,
        outputs=shown.outputs,
        why_sequential=shown.why_sequential,
        shares_memory=shown.shares_memory,
        unmakeable=shown.unmakeable,
        picky=picky,
        writes_inputs=shown.writes_inputs,
    )


def _all_alike(batch: Batch, device: Device) -> bool:
    """Whether all rows are alike (all zeros), which shows little."""
    arrays = [leaf for leaf, is_cut in batch.leaf_kinds() if is_cut and is_array(leaf)]
    return bool(arrays) and all(map(_rows_alike, map(HostValues(device), arrays)))


def _rows_alike(values: HostArray) -> bool:
    return len(values) < 2 or not (values[1:] != values[:1]).any()
