"""Drawn steps that 2 to 16 ranks run together: any numbers of rows, any options, errors on some of them.

Invariant: all ranks call the function equally often and in the same order of parts and yields, which is what
makes collectives meet their partners; each gets the plain call's result, or the error that it was to get, and
the others of its group one of ours; batches are as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any

import numpy as np

import microbatch
from microbatch import UBatchSlice
from microbatch.dbo import dbo_current_ubatch_id, dbo_yield
from microbatch.errors import LayoutError, RanksError
from microbatch.testing.given_plugins import GivenBackends
from tests.campaign.records import Found
from tests.support.ranks import FakeGroup, RankBackend, on_all_ranks

LEFT = frozenset({"threads"})
"""Descriptors are compared at the end: each rank has streams of its own, more than the slack of a case."""
STEPS = 8
"""Steps of one group."""
MOST_RANKS = 16
BACKENDS = [RankBackend() for _ in range(MOST_RANKS)]
"""One a rank, as streams live as long as the process."""
SIZES = (0, 0, 1, 2, 3, 5, 8, 13, 24, 40)
"""Rows of a rank."""
KINDS = ("rows", "requests", "padded")
"""Of batches: rows that are independent, tokens of requests, rows with lengths."""


@dataclass(slots=True)
class Rank:
    """One rank: its function notes each call."""

    calls: list[tuple[int, str]] = field(default_factory=list)
    """(ubatch, place) in the order in which the function came there."""
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    """What it was given."""

    def function(self, x: Any, *others: Any) -> Any:
        """Writes into its argument and returns it, as models do that save memory."""
        self.calls.append((dbo_current_ubatch_id(), "dispatch"))
        self.shapes.append(x.shape)
        x += 1
        dbo_yield()
        self.calls.append((dbo_current_ubatch_id(), "combine"))
        return x


@dataclass(frozen=True, slots=True)
class Batch:
    """What one rank is given in one step."""

    args: tuple[Any, ...]
    """Its arguments."""
    kwargs: dict[str, Any]
    """The slices, where they are named."""
    wrong: bool = False
    """Whether they cannot be bound."""
    padded: bool = False
    """Whether only as much of each row counts as its length says."""

    def judged(self, before: Any, answer: Any, *, any_wrong: bool) -> str:
        """What is wrong about the answer; empty where nothing is."""
        if any_wrong:
            due = LayoutError if self.wrong else RanksError
            return "" if isinstance(answer, due) else f"{due.__name__} was due, not {answer!r}"
        if isinstance(answer, BaseException):
            return f"it raised {answer!r}"
        real = np.arange(before.shape[1]) < self.args[1][:, None] if self.padded else slice(None)
        if answer.shape != before.shape or not np.array_equal(answer[real], before[real] + 1):
            return "wrong rows"
        written = self.args[0] - before
        return "" if np.isin(written, (0, 1)).all() else "its argument was written to twice"


def begin() -> None:
    """Use every schedule once on every rank."""
    for schedule in ("sequential", "pingpong", "streamed"):
        group = Drawn(
            Random(0), MOST_RANKS, "rows", {"schedule": schedule, "num_ubatches": 2, "verify": "never"}
        )
        assert not group.step()
        group.close()


def case(draw: Random) -> Found:
    """A group of ranks, and several steps of it."""
    size, kind = draw.choice((2, 2, 3, 4, 8, MOST_RANKS)), draw.choice(KINDS)
    group = Drawn(draw, size, kind, _options(draw, kind))
    failures: list[str] = []
    while group.steps < STEPS and not failures:
        failures += group.step()
    group.close()
    return Found(units={"steps": group.steps, "rank steps": group.steps * size}, failures=tuple(failures[:2]))


class Drawn:
    """The ranks of one case."""

    def __init__(self, draw: Random, size: int, kind: str, options: dict[str, Any]) -> None:
        self.steps = 0
        self._draw, self._kind, self._options = draw, kind, options
        self._ranks = [Rank() for _ in range(size)]
        self._group = group = FakeGroup(size)
        layout = LAYOUTS[kind]
        self._wrappers = []
        for rank, own, backend in zip(self._ranks, group.ranks, BACKENDS, strict=False):
            backend.found = own
            policy = {"max_tokens_per_ubatch": draw.randrange(1, 9)} if draw.random() < 0.3 else {}
            self._wrappers.append(
                microbatch.wrap(
                    rank.function,
                    plugins=GivenBackends(backend),
                    backend="rank",
                    layout=layout(),
                    **(options | policy),
                )
            )

    def step(self) -> list[str]:
        """One step of all ranks; what was wrong."""
        draw, size = self._draw, len(self._ranks)
        self.steps += 1
        same = draw.random() < 0.2
        rows = [draw.choice(SIZES) for _ in range(size)]
        seed = draw.getrandbits(32)
        batches = [
            BATCHES[self._kind](Random(seed if same else seed + rank), rows[0 if same else rank])
            for rank in range(size)
        ]
        if draw.random() < 0.1:
            batches[draw.randrange(size)] = Batch((np.zeros(()),), {}, wrong=True)
        before = [batch.args[0].copy() for batch in batches]
        for rank in self._ranks:
            rank.calls.clear()
            rank.shapes.clear()
        answers = on_all_ranks(
            [
                partial(wrapper, *batch.args, **batch.kwargs)
                for wrapper, batch in zip(self._wrappers, batches, strict=True)
            ]
        )
        any_wrong = any(batch.wrong for batch in batches)
        told = [
            f"rank {rank} of {size}, {self._kind} {[x.shape for x in before]}, {self._options}: {wrong}"
            for rank, batch in enumerate(batches)
            if (wrong := batch.judged(before[rank], answers[rank], any_wrong=any_wrong))
        ]
        if any(rank.calls != self._ranks[0].calls for rank in self._ranks):
            counts = [len(rank.calls) for rank in self._ranks]
            told.append(f"ranks called differently: {counts}, {self._kind} {rows}, {self._options}")
        if same and not any_wrong and any(rank.shapes != self._ranks[0].shapes for rank in self._ranks):
            told.append(f"equal batches have other parts: {[rank.shapes for rank in self._ranks]}")
        return told

    def close(self) -> None:
        """End the workers."""
        for wrapper in self._wrappers:
            wrapper.shutdown()
        self._group.end()


def _options(draw: Random, kind: str) -> dict[str, Any]:
    options: dict[str, Any] = {
        "schedule": draw.choice(("auto", "sequential", "pingpong", "pingpong", "streamed")),
        "driver": draw.choice(("threads", "greenlets")),
        "thread_pool_size": draw.randrange(1, 5),
        "splitter": draw.choice(("auto", "even", "floor", "request-aligned", "packed")),
        "verify": "never",
    }
    if draw.random() < 0.7:
        options["num_ubatches"] = draw.randrange(1, 9)
    elif draw.random() < 0.5:
        options["policy"] = "threshold"
    return options


def _rows(draw: Random, rows: int) -> Batch:
    x = np.arange(rows * 3.0).reshape(rows, 3)
    kwargs: dict[str, Any] = {}
    if rows > 1 and draw.random() < 0.1:
        edge = draw.randrange(1, rows)
        edges = ((0, edge), (edge, rows))
        kwargs["ubatch_slices"] = [UBatchSlice(token_slice=slice(*e), req_slice=slice(*e)) for e in edges]
    return Batch((x,), kwargs)


def _requests(draw: Random, rows: int) -> Batch:
    lengths = [draw.choice((0, 1, 1, 2, 7)) for _ in range(rows)]
    lengths = lengths if any(lengths) else []  # requests without any token are refused
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Batch((np.arange(starts[-1] * 2.0).reshape(-1, 2), starts), {})


def _padded(draw: Random, rows: int) -> Batch:
    lengths = np.asarray([draw.randrange(1, 6) for _ in range(rows)], np.int64)
    return Batch((np.arange(rows * 6.0).reshape(rows, 6), lengths), {}, padded=True)


BATCHES: dict[str, Callable[[Random, int], Batch]] = {
    "rows": _rows,
    "requests": _requests,
    "padded": _padded,
}
LAYOUTS: dict[str, Callable[[], Any]] = {
    "rows": lambda: None,
    "requests": lambda: microbatch.Layout(
        inputs={"0": microbatch.tokens(), "1": microbatch.query_start_loc()},
        outputs={"output": microbatch.tokens()},
    ),
    "padded": lambda: microbatch.Layout(
        inputs={"0": microbatch.tokens(trim=1)}, outputs={"output": microbatch.tokens(trim=1)}, lengths="1"
    ),
}
"""A layout for each kind; a wrapper keeps things in it, so each has its own."""
