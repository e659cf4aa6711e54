"""Three small calls on copies of a few rows: may the function be cut, and what are its outputs?

Invariant: the caller's arrays are as before, random numbers are put back, nothing is recorded for gradients,
and what the function returned is copied to the host before the next call, as it may use its memory again. A
call that raises refutes. What the function does besides returning (prints, counts) it does with each of these
calls, too; the page on proof says so. A generator of random numbers that has moved does not say which thread
drew from it: where other threads run, the calls are made again before it refutes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from itertools import repeat
from typing import Any, TypeVar

import numpy as np

from microbatch.arrays.looks import is_array
from microbatch.arrays.memory import start_of
from microbatch.arrays.row_lists import is_row_list
from microbatch.arrays.row_types import has_rows
from microbatch.arrays.trees import leaf_paths, output_name
from microbatch.binding.batch import Batch
from microbatch.binding.leaf_parts import Rows, token_permutation
from microbatch.binding.paths import declared_rules
from microbatch.binding.proven import ProvenOutputs
from microbatch.binding.rules import ROW_KINDS
from microbatch.cutting.slices import UBatchSlice
from microbatch.extend.inside import inside, undone_on_error
from microbatch.gathering.row_places import request_places, token_places
from microbatch.options.raised import text_of
from microbatch.proof.host_values import HostValues
from microbatch.proof.output_kinds import Lengths, Refuted, Seen, alike, kind_of_leaf, opened
from microbatch.proof.random_numbers import Generators
from microbatch.proof.reachable import names_used
from microbatch.proof.sample import Sample, WholeLeaves, sample_of
from microbatch.proof.shown import SAME_MEMORY, Raised, Shown, Subject
from microbatch.proof.surroundings import Surroundings
from microbatch.proof.trial_call import Arguments, Called
from microbatch.schedules.staging import Buffers, Mover
from microbatch.turns.runtime import other_threads

Answer = TypeVar("Answer")

TRIES = 4
"""Most tries beside other threads. One that draws each millisecond meets most tries of that length."""


class Experiment:
    """One experiment on some requests of one batch."""

    def __init__(self, subject: Subject, batch: Batch, positions: Rows) -> None:
        self._subject = subject
        self._batch = batch
        self._positions = positions
        self._device = subject.binder.device
        self._backend = self._device.backend
        awaits = self._device.awaits
        self._function = subject.function if awaits is None else awaits.awaiting(subject.function)
        self._mover = Mover(self._device) if subject.moved else None
        # Copies from these may be still to come, until the results are read; CuPy's pool of pinned memory
        # gives a dropped buffer to the next call at once, which would then write its own rows into it.
        self._buffers: list[Buffers] = []
        self._constants = [leaf for leaf, _ in batch.leaf_kinds() if _may_be_left_in(leaf)]
        self._copies: list[WholeLeaves] = []
        self._after_first: Surroundings
        self._sample: Sample
        self._is_whole = subject.first is None and len(positions) == batch.shape.num_requests
        """Whether the sample is all there is; then the whole call itself is made too, and is compared."""

    def run(self) -> Shown:
        """What the calls show; raises Refuted with the reason where the function may not be cut so.

        What the calls have overwritten is put back, and all that they have changed where they refute, or
        where an interrupt ends them.
        """
        function, given = self._subject.function, WholeLeaves(self._batch)
        before = Surroundings.of(function, self._constants, saving=True)
        if before.iterators:
            raise Refuted(f"it refers to the iterator {before.iterators[0]!r}, which calls use up")
        generators = Generators([*before.generators, *self._constants])

        def shown() -> Shown:
            calls = self._undrawn(before, generators, self._three_calls)
            proven, seen = self._judged(calls, given)
            again = self._left_again(proven, calls[1], before, generators)
            shared = _share_memory(proven, calls)
            return Shown(
                outputs=proven,
                seen=seen,
                sample=self._sample,
                why_sequential=_why_sequential(again, names_used(function), shared=shared),
                shares_memory=shared,
                writes_inputs=any(call.wrote for call in calls),
            )

        return undone_on_error(shown, before.put_back)

    def _judged(self, calls: Sequence[Called], given: WholeLeaves) -> tuple[ProvenOutputs, tuple[Seen, ...]]:
        """What the outputs are; raises Refuted where they, or what was written, depend on other rows."""
        if given.written() or any(leaves.written() for leaves in self._copies):
            raise Refuted("it writes into an argument that every part is given whole")
        found = self._compared(calls[:3], units_of(self._sample))
        if self._is_whole:
            self._compared([*calls[:2], calls[3]], units_of(self._sample, in_order=True))
        self._check_written(calls[:3])
        return found

    def _left_again(
        self, proven: ProvenOutputs, second: Called, before: Surroundings, generators: Generators
    ) -> str | None:
        """What every call overwrites or leaves behind, put back; None where at most the first did.

        What is set up once stays, as loading a model may take long.
        """
        after = Surroundings.of(self._subject.function, self._constants)
        left = before.left_by(after)
        if left is None:
            return None
        before.put_back()
        again = self._undrawn(before, generators, self._second_call)
        self._check_unaffected(proven, second, again, left)
        each = self._after_first.left_by(after)
        if each:
            before.put_back()
        return each

    def _fresh(self) -> Sample:
        sample = sample_of(
            self._batch,
            self._positions,
            self._backend,
            inside_requests=self._subject.inside_requests,
            first=self._subject.first,
        )
        self._copies += [WholeLeaves(copy) for copy in (sample.batch, sample.witness)]
        return sample

    def _undrawn(self, before: Surroundings, generators: Generators, calls: Callable[[], Answer]) -> Answer:
        """What `calls` answers; raises Refuted where random numbers were drawn, also when tried again.

        Before each further try all is as at first, so that a function which draws at its first call only
        draws again.
        """
        for _ in range(TRIES if other_threads() else 1):
            answer, drew = self._without_trace(generators, calls)
            if not drew:
                return answer
            before.put_back()
        raise Refuted("it draws random numbers, so parts would be given others than the whole batch")

    def _without_trace(self, generators: Generators, calls: Callable[[], Answer]) -> tuple[Answer, bool]:
        """What `calls` answers, and whether random numbers were drawn meanwhile."""
        trials = self._device.trials
        trial = trials.trial() if trials else nullcontext(_never)

        def watched(framework_drew: Callable[[], bool]) -> tuple[Answer, bool]:
            return calls(), framework_drew()

        generators.moved = False
        answer, drew = inside(generators, lambda _: inside(trial, watched))
        return answer, drew or generators.moved

    def _check_unaffected(self, proven: ProvenOutputs, second: Called, again: Called, left: str) -> None:
        """The second call, made first: its result must not depend on what the first had left behind."""
        read = HostValues(self._device)
        both = zip(_leaves(proven, second.output), _leaves(proven, again.output), strict=True)
        if not all(alike(one, other, read) for one, other in both):
            raise Refuted(f"its result depends on what earlier calls left in {left!r}")

    def _second_call(self) -> Called:
        cut = self._sample.cut
        part = self._fresh().batch.part(cut.slices[1], None if cut.trims is None else cut.trims[1])
        return self._call(part, cut.slices[1].num_tokens)

    def _three_calls(self) -> list[Called]:
        self._after_first = Surroundings()
        sample = self._sample = self._fresh()
        pieces, shape = sample.cut.slices, sample.witness.shape
        trims = sample.cut.trims or (None,) * len(pieces)
        everything = UBatchSlice.from_range(0, shape.num_tokens, 0, shape.num_requests)
        parts = [sample.batch.part(piece, trim) for piece, trim in zip(pieces, trims, strict=True)]
        widest = None if sample.cut.trims is None else max(sample.cut.trims)
        parts.append(sample.witness.part(everything, widest))
        sizes = [*(piece.num_tokens for piece in pieces), shape.num_tokens]
        if self._is_whole:
            parts.append(self._fresh().batch.part(everything, widest))
            sizes.append(shape.num_tokens)
        return [self._call(part, rows) for part, rows in zip(parts, sizes, strict=True)]

    def _moved(self, mover: Mover, part: Any) -> Any:
        """`part` on the device, from buffers that stay."""
        self._buffers.append({})
        return mover.fetch(part, self._buffers[-1])[0]

    def _call(self, part: tuple[tuple[Any, ...], dict[str, Any]], rows: int) -> Called:
        before = Arguments(part, self._device)
        try:
            (args, kwargs) = part if self._mover is None else self._moved(self._mover, part)
            returned = self._function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it raises on a few rows refutes
            raise Raised(error, rows) from None
        called = before.after(returned)
        if called.wrote_list:
            raise Refuted("it writes into a list or a table, of which each part is given a copy")
        if not self._after_first.states:
            self._after_first = Surroundings.of(self._subject.function, self._constants)
        return called

    def _compared(
        self, calls: Sequence[Called], units: Sequence[Lengths]
    ) -> tuple[ProvenOutputs, tuple[Seen, ...]]:
        """What each output is, by the two parts and a witness."""
        layout = self._subject.binder.layout
        spec, leaves = opened([call.output for call in calls], units, layout)
        names = [output_name(path) for path in leaf_paths(spec)]
        declared = declared_rules(spec, layout, "outputs", ()) or repeat((None, False))
        seen = []
        for name, values, (rule, _) in zip(names, zip(*leaves, strict=True), declared, strict=False):
            seen.append(self._kind_of(name, values, units) if rule is None else Seen(rule, None, 0.0))
        return ProvenOutputs(spec, tuple(each.rule for each in seen)), tuple(seen)

    def _check_written(self, calls: Sequence[Called]) -> None:
        """What is written into the rows of an argument must not depend on other rows either."""
        if not any(call.wrote for call in calls):
            return
        if len({len(call.arguments) for call in calls}) > 1:
            raise Refuted("it writes into arrays inside of a list")
        units = units_of(self._sample)
        for number, values in enumerate(zip(*(call.arguments for call in calls), strict=True)):
            self._kind_of(f"what it writes into array {number} of its arguments", values, units)

    def _kind_of(self, name: str, values: Sequence[Any], units: Sequence[Lengths]) -> Seen:
        try:
            return kind_of_leaf(name, values, units, self._device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise Refuted(f"{name} cannot be compared: {text_of(error)}") from None


def _may_be_left_in(leaf: Any) -> bool:
    """Whether calls may leave something in it that is looked at and put back; of arrays and tables they are
    given copies."""
    return not is_array(leaf) and (is_row_list(leaf) or not has_rows(leaf))


def _leaves(proven: ProvenOutputs, output: Any) -> list[Any]:
    try:
        return proven.spec.flatten_up_to(output)
    except ValueError:
        raise Refuted("its result depends on what earlier calls left behind") from None


def _why_sequential(left: str | None, used: Collection[str], *, shared: bool) -> str:
    if "functional_call" in used:
        return "functional_call puts other parameters into a module while it runs"
    if left is not None:
        return f"each call writes {left!r}"
    return SAME_MEMORY if shared else ""


def _share_memory(proven: ProvenOutputs, calls: Sequence[Called]) -> bool:
    """Whether the two parts returned rows in the same memory."""
    first, second = (proven.spec.flatten_up_to(call.returned) for call in calls[:2])
    return any(
        rule.kind in ROW_KINDS and start_of(one) is not None and start_of(one) == start_of(other)
        for rule, one, other in zip(proven.rules, first, second, strict=True)
    )


def units_of(sample: Sample, *, in_order: bool = False) -> list[Lengths]:
    """Tokens, and requests where they are counted apart; tokens first.

    `in_order` is for a witness that has the rows in the order of the batch.
    """
    shape, made = sample.batch.shape, sample.cut
    requests = np.arange(sample.witness.shape.num_requests)[:: 1 if in_order else -1]
    if shape.num_tokens == shape.num_requests and (
        shape.query_start_loc is None or (np.diff(shape.starts) == 1).all()
    ):
        return [Lengths(token_places(shape, made), requests)]
    tokens = Lengths(token_places(shape, made), token_permutation(shape, requests))
    return [tokens, Lengths(request_places(shape, made), requests)]


def _never() -> bool:
    return False
