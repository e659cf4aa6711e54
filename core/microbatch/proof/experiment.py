"""Three small calls on copies of a few rows: may the function be cut, and what are its outputs?

Invariant: the caller's arrays are as before, random numbers are put back, nothing is recorded for gradients,
and what the function returned is copied to the host before the next call, as it may use its memory again. A
call that raises refutes. What the function does besides returning (prints, counts) it does three times more;
the README says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from microbatch.arrays.comparing import equal_values
from microbatch.arrays.looks import class_of, is_array
from microbatch.arrays.memory import start_of
from microbatch.arrays.trees import flatten, leaf_paths, leaves_of, map_leaves, output_name
from microbatch.binding.batch import Batch, Binder
from microbatch.binding.leaf_parts import token_permutation
from microbatch.binding.paths import declared_rules
from microbatch.binding.proven import ProvenOutputs
from microbatch.cutting.slices import UBatchSlice
from microbatch.gathering.row_places import request_places, token_places
from microbatch.proof.output_kinds import Lengths, Refuted, Seen, kind_of_leaf, opened
from microbatch.proof.random_numbers import Generators
from microbatch.proof.sample import Sample, WholeLeaves
from microbatch.proof.surroundings import Surroundings
from microbatch.schedules.staging import Mover


class Raised(Refuted):
    """The function raised `original` on a part; it may need more rows than were tried."""

    def __init__(self, original: Exception, rows: int) -> None:
        super().__init__(f"it raises {type(original).__name__} on {rows} rows: {original}")
        self.original = original


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What an experiment has shown of a function that may be cut."""

    outputs: ProvenOutputs
    """What each output is."""
    seen: tuple[Seen, ...]
    """Its rows, to be compared with those of the step."""
    sample: Sample
    """Where they are in the batch."""
    why_sequential: str
    """Why two calls must not overlap; empty where they may."""
    shares_memory: bool
    """Whether two calls returned the same memory."""
    writes_inputs: bool
    """Whether the function wrote into its inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is tried."""

    function: Callable[..., Any]
    """The function of the wrapper."""
    binder: Binder
    """Has the layout, and the device."""
    moved: bool
    """Whether the step brings host arrays to the device before it calls the function."""


class Experiment:
    """One experiment on one sample."""

    def __init__(self, subject: Subject, sample: Sample) -> None:
        self._subject = subject
        self._sample = sample
        self._device = subject.binder.device
        self._backend = self._device.backend
        self._mover = Mover(self._device) if subject.moved else None
        self._starts: list[set[int]] = []
        self._alive: list[Any] = []
        self._writes_inputs = False

    def run(self, batch: Batch) -> Shown:
        """What the calls show; raises Refuted with the reason where the function may not be cut so."""
        function, given = self._subject.function, WholeLeaves(batch)
        before = Surroundings.of(function)
        copies = [WholeLeaves(copy) for copy in (self._sample.batch, self._sample.witness)]
        constants = [leaf for leaf, _ in batch.leaf_kinds() if not is_array(leaf)]
        outputs = self._without_trace(Generators([*before.generators, *constants]))
        if any(leaves.written() for leaves in (given, *copies)):
            raise Refuted("it writes into an argument that every part is given whole")
        proven, seen = self._compared(outputs)
        return Shown(
            outputs=proven,
            seen=seen,
            sample=self._sample,
            why_sequential=self._why_sequential(before, Surroundings.of(function)),
            shares_memory=self._shares_memory(),
            writes_inputs=self._writes_inputs,
        )

    def _without_trace(self, generators: Generators) -> list[Any]:
        """The outputs of the three calls; raises Refuted where they drew random numbers."""
        trials = self._device.trials
        try:
            with trials.trial() if trials else nullcontext(_never) as framework_drew:
                outputs = self._three_calls()
                drew = framework_drew()
        finally:
            moved = generators.put_back()
        if drew or moved:
            raise Refuted("it draws random numbers, so parts would be given others than the whole batch")
        return outputs

    def _three_calls(self) -> list[Any]:
        sample = self._sample
        pieces = sample.cut.slices
        trims = sample.cut.trims or (None,) * len(pieces)
        calls = [(sample.batch, piece, trim) for piece, trim in zip(pieces, trims, strict=True)]
        shape = sample.witness.shape
        everything = UBatchSlice.from_range(0, shape.num_tokens, 0, shape.num_requests)
        calls.append(
            (sample.witness, everything, None if sample.cut.trims is None else max(sample.cut.trims))
        )
        return [self._call(batch, piece, trim, index) for index, (batch, piece, trim) in enumerate(calls)]

    def _call(self, batch: Batch, piece: UBatchSlice, trim: int | None, index: int) -> Any:
        """One call; its outputs as copies."""
        args, kwargs = batch.part(piece, trim, min(index, 1))
        lists = [leaf for leaf in flatten((args, kwargs), _is_list)[0] if _is_list(leaf)]
        entries = [list(leaf) for leaf in lists]
        arrays = self._before(args, kwargs) if index == 0 else []
        try:
            if self._mover is not None:
                (args, kwargs), _ = self._mover.fetch((args, kwargs), {})
            output = self._subject.function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever it raises on a few rows refutes
            raise Raised(error, piece.num_tokens) from None
        if not all(map(_same_entries, lists, entries)):
            raise Refuted("it writes into a list, of which each part is given a copy")
        self._writes_inputs |= not all(equal_values(array, copy) for array, copy in arrays)
        self._note_memory(output)
        return map_leaves(self._copied, output)

    def _copied(self, leaf: Any) -> Any:
        """A copy of an array, as the function may use its memory again; what cannot be copied as it is."""
        if not is_array(leaf) or isinstance(leaf, np.generic):
            return leaf
        backend = self._backend
        try:
            made = backend.empty(leaf.shape, leaf)
            if class_of(made) is not class_of(leaf):
                return leaf
            backend.copy(made, leaf)
        except (TypeError, ValueError, AttributeError, RuntimeError):
            return leaf
        return made

    def _before(self, args: Any, kwargs: Any) -> list[tuple[Any, Any]]:
        """The arrays of the first part, each with a copy, to see whether the function writes into them."""
        backend = self._backend
        arrays = [
            leaf for leaf in leaves_of((args, kwargs)) if is_array(leaf) and leaf.shape and backend.owns(leaf)
        ]
        return [(array, backend.take(array, range(array.shape[0]), 0)) for array in arrays]

    def _note_memory(self, output: Any) -> None:
        """Where the outputs are; they are kept alive, so that an equal address is the same memory."""
        leaves = [leaf for leaf in leaves_of(output) if is_array(leaf)]
        self._alive.append(leaves)
        self._starts.append({start for leaf in leaves if (start := start_of(leaf)) is not None})

    def _compared(self, outputs: list[Any]) -> tuple[ProvenOutputs, tuple[Seen, ...]]:
        units, layout = units_of(self._sample), self._subject.binder.layout
        spec, leaves = opened(outputs, units, layout)
        names = [output_name(path) for path in leaf_paths(spec)]
        declared = declared_rules(spec, layout, "outputs", ()) or repeat((None, False))
        seen = []
        for name, values, (rule, _) in zip(names, zip(*leaves, strict=True), declared, strict=False):
            if rule is not None:
                seen.append(Seen(rule, None, 0.0))
                continue
            try:
                seen.append(kind_of_leaf(name, values, units, self._backend))
            except (TypeError, ValueError, RuntimeError) as error:
                raise Refuted(f"{name} cannot be compared: {error}") from None
        return ProvenOutputs(spec, tuple(each.rule for each in seen)), tuple(seen)

    def _why_sequential(self, before: Surroundings, after: Surroundings) -> str:
        changed = before.overwritten(after)
        if changed is not None:
            return f"each call overwrites {changed!r}"
        return "each call returns the same memory" if self._shares_memory() else ""

    def _shares_memory(self) -> bool:
        first, second, *_ = self._starts
        return bool(first & second)


def units_of(sample: Sample) -> list[Lengths]:
    """Tokens, and requests where they are counted apart; tokens first."""
    shape, made = sample.batch.shape, sample.cut
    requests = np.arange(shape.num_requests)[::-1]
    if shape.num_tokens == shape.num_requests and (
        shape.query_start_loc is None or (np.diff(shape.starts) == 1).all()
    ):
        return [Lengths(token_places(shape, made), requests)]
    tokens = Lengths(token_places(shape, made), token_permutation(shape, requests))
    return [tokens, Lengths(request_places(shape, made), requests)]


def _is_list(node: Any) -> bool:
    """Whether it is a list that the function could write into."""
    return type(node) is list or type(node) is deque


def _same_entries(now: Any, before: list[Any]) -> bool:
    return len(now) == len(before) and all(a is b for a, b in zip(now, before, strict=True))


def _never() -> bool:
    return False
