"""Small programs on a batch, drawn out of lines that keep rows apart and lines that mix them.

Invariant: a program is plain data, and its repr is the source that runs; a program of which a line was left
out is a program. Each call of `function` makes the function anew.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.support.program_blocks import (
    CLOSED,
    ENDS,
    KINDS,
    LONG,
    MIXING,
    MIXING_ENDS,
    ROW_WISE,
    SHARED,
    Generator,
    Line,
)


@dataclass(frozen=True, slots=True)
class Given:
    """A thing that a line is given."""

    name: str
    kind: str
    columns: int
    """Columns of `a` at the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A drawn function and its inputs."""

    steps: tuple[Line, ...]
    """Its lines, each of which makes `a` anew."""
    end: Line
    """What it returns."""
    rows: int
    columns: int
    parts: int
    """Into how many it shall be cut."""
    second: bool = False
    """Whether the batch is the second argument, where there are two."""
    seed: int = 0
    """Of the inputs."""

    @property
    def row_wise(self) -> bool:
        """Whether it may be cut, by construction."""
        return self.end.row_wise and all(step.row_wise for step in self.steps)

    @property
    def plain(self) -> bool:
        """Whether its inputs have few readings: one whole partner of as many rows, one leaf more."""
        kinds = [given.kind for given in self.givens()]
        whole = kinds.count("twin") + sum(
            given.columns == self.rows and given.kind in ("weights", "bias") for given in self.givens()
        )
        return whole <= 1 and sum(kind in LONG for kind in kinds) - kinds.count("twin") + whole <= 2

    def givens(self) -> list[Given]:
        """All that its lines are given, in order."""
        found, columns = [], self.columns
        for at, line in enumerate((*self.steps, self.end)):
            found += [Given(f"{kind}{at}", kind, columns) for kind in line.given]
            columns = line.width(self.rows, columns)
        return found

    @property
    def parameters(self) -> list[str]:
        """The names of its arguments, in order."""
        names = [given.name for given in self.givens() if given.kind not in (CLOSED, SHARED)]
        return [*names[: int(self.second)], "a", *names[int(self.second) :]]

    @property
    def source(self) -> str:
        """The program as a function that makes it from its closure."""
        closed = [given.name for given in self.givens() if given.kind == CLOSED]
        lines = [f"a = {_filled(step, at)}" for at, step in enumerate(self.steps)]
        body = "\n        ".join([*lines, f"return {_filled(self.end, len(self.steps))}"])
        head = f"def make({', '.join(closed)}):\n    def f({', '.join(self.parameters)}):"
        return f"{head}\n        {body}\n    return f\n"

    def function(self) -> Callable[..., Any]:
        """Made anew, with the hidden things of the first inputs."""
        hidden = self._made(0)
        names = {
            "np": np,
            **{given.name: hidden[given.name] for given in self.givens() if given.kind == SHARED},
        }
        exec(compiled(self.source), names)  # noqa: S102  # what runs is what the repr shows
        closed = [hidden[given.name] for given in self.givens() if given.kind == CLOSED]
        return names["make"](*closed)  # type: ignore[no-any-return, operator]

    def arguments(self, number: int = 0) -> list[Any]:
        """Inputs number `number`, made anew."""
        made = self._made(number)
        return [made[name] for name in self.parameters]

    def _made(self, number: int) -> Mapping[str, Any]:
        rng = np.random.default_rng([self.seed, number])
        made = {"a": rng.normal(size=(self.rows, self.columns))}
        return made | {
            given.name: KINDS[given.kind](self.rows, given.columns, rng) for given in self.givens()
        }

    def smaller(self) -> Iterator[Program]:
        """Programs with one line or some rows less."""
        for at in range(len(self.steps)):
            yield replace(self, steps=self.steps[:at] + self.steps[at + 1 :])
        if self.end is not ENDS[0]:
            yield replace(self, end=ENDS[0])
        if self.second:
            yield replace(self, second=False)
        for rows in (12, self.rows // 2, self.rows - 1):
            if self.parts <= rows < self.rows:
                yield replace(self, rows=rows)
        if self.parts > 2:
            yield replace(self, parts=2)

    def __repr__(self) -> str:
        numbers = f"{self.rows} rows of {self.columns}, in {self.parts} parts, inputs of seed {self.seed}"
        kind = "row-wise" if self.row_wise else "not row-wise"
        return f"a {kind} program on {numbers}:\n{self.source}"


@functools.lru_cache(maxsize=512)
def compiled(source: str) -> Any:
    """The code of a program."""
    return compile(source, "<program>", "exec")


def _filled(line: Line, at: int) -> str:
    return line.text.format(*[f"{kind}{at}" for kind in line.given])


def shrunk(program: Program, fails: Callable[[Program], object]) -> Program:
    """The smallest program found that still fails, by leaving out one thing after another."""
    for candidate in program.smaller():
        if fails(candidate):
            return shrunk(candidate, fails)
    return program


def draw_program(rng: Generator) -> Program:
    """One program; half are row-wise. Row-wise ones that have too many readings are drawn anew."""
    while True:
        program = _drawn(rng)
        if program.plain or not program.row_wise:
            return program


def _drawn(rng: Generator) -> Program:
    mixing = rng.random() < 0.5
    rows = int(rng.integers(12, 65) if rng.random() < 0.9 else rng.integers(2, 12))
    steps = [_one_of(rng, ROW_WISE) for _ in range(rng.integers(0, 5))]
    end = _one_of(rng, ENDS)
    if mixing and rng.random() < 0.25:
        end = _one_of(rng, MIXING_ENDS)
    elif mixing:
        steps.insert(int(rng.integers(0, len(steps) + 1)), _one_of(rng, MIXING))
    return Program(
        steps=tuple(steps),
        end=end,
        rows=rows,
        columns=rows if rng.random() < 0.1 else int(rng.integers(2, 9)),
        parts=int(rng.integers(2, min(rows, 8) + 1)),
        second=bool(rng.random() < 0.2),
        seed=int(rng.integers(1 << 32)),
    )


def _one_of(rng: Generator, lines: tuple[Line, ...]) -> Line:
    return lines[int(rng.integers(len(lines)))]


def programs(count: int) -> st.SearchStrategy[list[Program]]:
    """Lists of `count` programs, each drawn from one number, as drawing all takes longer than running."""
    return st.integers(0, 2**32 - 1).map(lambda seed: drawn_from(seed, count))


def drawn_from(seed: int, count: int) -> list[Program]:
    """The programs of a seed."""
    rng = np.random.default_rng(seed)
    return [draw_program(rng) for _ in range(count)]
