"""Shows of a wrapper's function, before it is cut for the first time, that it may be.

Invariant: nothing that was read from sizes is trusted before an experiment has shown it. Readings are tried
in order; the first that is not refuted is kept for the structure of the call, or, where all are, why not. An
experiment that runs out of memory shows nothing and is not kept. Two threads may try the same at once; they
come to the same verdict, so nothing is locked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microbatch.arrays.comparing import HostArray
from microbatch.arrays.looks import is_array
from microbatch.arrays.memory import version_of
from microbatch.binding.batch import Batch
from microbatch.binding.binder import Binder
from microbatch.errors import LayoutError, StepOutOfMemoryError
from microbatch.extend.records import FailureKind
from microbatch.options.fields import UBatchConfig
from microbatch.proof.host_values import HostValues
from microbatch.proof.output_kinds import Refuted
from microbatch.proof.sample import ROWS, positions_of
from microbatch.proof.shown import Raised, Shown, Subject
from microbatch.proof.verdict import TRUSTED, Evidence, Verdict

KEPT = 128
"""Structures remembered. A program has a handful; ever new ones must not fill the memory."""
FEWEST = 2
"""Rows of the smallest sample."""
MORE = (96, 768)
"""Rows that are tried where the function raises on few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One call that is to be cut."""

    binder: Binder
    """Finds its batch."""
    args: tuple[Any, ...]
    """Positional arguments."""
    kwargs: Mapping[str, Any]
    """Arguments by name."""
    streamed: bool
    """Whether the step moves host arrays to the device before it calls the function."""
    inside_requests: bool = False
    """Whether the step cuts requests in two."""
    largest: int | None = None
    """Rows of its largest planned part; None where none is planned."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of trying."""

    verdict: Verdict
    """Whether the function may be cut."""
    evidence: Evidence | None = None
    """Rows that were computed, where it may."""
    error: Exception | None = None
    """What the function raised, where that is all that was seen."""


class Prover:
    """One per wrapper; usable from several threads at once."""

    __slots__ = ("_alike", "_config", "_draw", "_function", "_kept", "_modes", "always", "remarkable")

    def __init__(
        self, function: Callable[..., Any], config: UBatchConfig, modes: Callable[[], Hashable]
    ) -> None:
        """`modes()` is what of the function itself decides what it does (whether a module trains)."""
        self._function = function
        self._config = config
        self._modes = modes
        self._kept: dict[Hashable, Verdict] = {}
        self._alike: dict[Hashable, tuple[tuple[int, int | None], ...]] = {}
        self._draw = random.Random(0)
        self.remarkable = False
        """Whether any verdict says more than that a structure may be cut as its sizes say."""
        self.always = config.verify == "always"
        """Whether each step is to be shown anew, at drawn rows."""

    def known(self, asked: Asked, batch: Batch) -> Verdict | None:
        """The verdict for calls like this one, whose batch is `batch` by the first reading; None for none."""
        if asked.binder.strict or batch.declared:
            return TRUSTED
        key = self._key(asked, batch)
        verdict = self._kept.get(key)
        if verdict is not None and verdict.provisional and not self._still_alike(key, batch):
            return None
        return verdict

    def prove(self, asked: Asked) -> Proof:
        """Try the readings in order; the verdict is kept, the evidence is for the step that follows."""
        binder = asked.binder
        batch = binder.bind(asked.args, asked.kwargs)
        key, refuted = self._key(asked, batch), list[Exception]()
        alone = batch.only_kind is not None
        for reading in range(1 if alone else binder.readings(asked.args, asked.kwargs)):
            try:
                read = batch if reading == 0 else binder.bind(asked.args, asked.kwargs, reading)
                shown, picky = self._try(asked, read)
                if reading and not shown.has_rows():
                    raise Refuted("no output has an entry per row")
            except (Refuted, LayoutError) as error:
                refuted.append(error)
            else:
                verdict = _accepted(shown, reading, picky=picky, always=self.always)
                if _degenerate(shown, HostValues(binder.device)):
                    verdict = replace(verdict, provisional=True, plain=False)
                    self._alike[key] = _marks(read)
                self._keep(key, verdict)
                return Proof(verdict, Evidence(shown))
        # a call that raised says least: it may have been given weights in place of rows
        worst = min(refuted, key=lambda each: isinstance(each, Raised))
        verdict = Verdict(why_whole=str(worst), raised=isinstance(worst, Raised))
        self._keep(key, verdict)
        return Proof(verdict, error=worst.original if isinstance(worst, Raised) else None)

    def refute(self, asked: Asked, reason: str) -> None:
        """Keep that calls like this one must not be cut: a step has shown what the experiment had not."""
        batch = asked.binder.bind(asked.args, asked.kwargs)
        self._keep(self._key(asked, batch), Verdict(why_whole=reason))

    def _try(self, asked: Asked, batch: Batch) -> tuple[Shown, bool]:
        """The experiment, with other numbers of rows where the function raises, and whether it did.

        Running out of memory is no such error: fewer rows are tried.
        """
        first: Raised | None = None
        picky = False
        wanted, others = min(ROWS, batch.shape.num_requests), _other_sizes(batch, asked.largest)
        while True:
            try:
                return self._experiment(asked, batch, wanted), picky
            except Raised as error:
                first = first or error
                memory = asked.binder.device.backend.classify(error.original) is FailureKind.OOM
                if memory and wanted <= FEWEST:
                    raise _too_large(error) from error.original
                if not memory and not others:
                    raise first from None
            picky = picky or not memory
            wanted = max(FEWEST, wanted // 2) if memory else others.pop(0)

    def _experiment(self, asked: Asked, batch: Batch, wanted: int) -> Shown:
        # imported when a function is first cut, as few programs cut in their first millisecond
        from microbatch.proof.experiment import Experiment

        binder = asked.binder
        subject = Subject(
            function=self._function,
            binder=binder,
            moved=asked.streamed and binder.device.transfer is not None,
            inside_requests=asked.inside_requests,
        )
        positions = positions_of(batch, wanted, self._draw if self.always else None)
        return Experiment(subject, batch, positions).run()

    def _key(self, asked: Asked, batch: Batch) -> Hashable:
        ways = asked.streamed, asked.inside_requests
        return asked.binder.device.backend.name, ways, batch.structure, self._modes()

    def _still_alike(self, key: Hashable, batch: Batch) -> bool:
        """Whether the rows are still all alike, as far as a look at three of them tells.

        Reading an array on a device would wait for it: there it must be the same one, unwritten since.
        """
        if all(isinstance(array, np.ndarray) for array in _rows_of(batch)):
            return all(map(_three_alike, _rows_of(batch)))
        return _marks(batch) == self._alike.get(key)

    def _keep(self, key: Hashable, verdict: Verdict) -> None:
        while len(self._kept) >= KEPT:
            oldest = next(iter(self._kept))
            self._kept.pop(oldest, None)
            self._alike.pop(oldest, None)
        self._kept[key] = verdict
        self.remarkable = self.remarkable or not verdict.plain


def _too_large(error: Raised) -> StepOutOfMemoryError:
    return StepOutOfMemoryError(
        f"memory ran out ({error.original}) when the function was tried on {FEWEST} rows to see whether it "
        "may be cut; declare in a Layout what each argument and output is, and it runs row by row untried"
    )


def _other_sizes(batch: Batch, largest: int | None) -> list[int]:
    """Rows to try where the function raises on a few: as many as it will be given, then more."""
    given = [] if largest is None or largest >= ROWS else [max(FEWEST, largest)]
    return given + [rows for rows in MORE if rows <= batch.shape.num_requests]


def _accepted(shown: Shown, reading: int, *, picky: bool, always: bool) -> Verdict:
    return Verdict(
        plain=not (reading or picky or shown.why_sequential or shown.unmakeable or always),
        reading=reading,
        outputs=shown.outputs,
        why_sequential=shown.why_sequential,
        shares_memory=shown.shares_memory,
        unmakeable=shown.unmakeable,
        picky=picky,
        writes_inputs=shown.writes_inputs,
    )


def _degenerate(shown: Shown, read: HostValues) -> bool:
    """Whether all rows that were tried are alike (all zeros), which shows little."""
    batch = shown.sample.batch
    arrays = _rows_of(batch)
    return bool(arrays) and batch.shape.num_requests > 1 and all(_rows_alike(read(array)) for array in arrays)


def _rows_of(batch: Batch) -> list[Any]:
    """The arrays of which rows are cut."""
    return [leaf for leaf, is_cut in batch.leaf_kinds() if is_cut and is_array(leaf)]


def _rows_alike(values: HostArray) -> bool:
    return len(values) < 2 or not (values[1:] != values[:1]).any()


def _three_alike(array: HostArray) -> bool:
    return _rows_alike(array[[0, len(array) // 2, -1]])


def _marks(batch: Batch) -> tuple[tuple[int, int | None], ...]:
    """Which arrays these are, and how often each has been written."""
    return tuple((id(array), version_of(array)) for array in _rows_of(batch))
