"""Drawn steps: a function of any kind, a batch of any size, a schedule, threads, and an error at any place.

Invariant: an answer equals that of the plain call bit for bit; an error is the very object that was raised;
the next step of the same wrapper is right; a wrapper that was shut down has left no thread, no descriptor and
nothing to the garbage collector. Eight cores are pretended, so that 1 to 8 threads run whatever the machine.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Any

import numpy as np

import microbatch
from microbatch.errors import OutputMismatchError, UnprovenError
from microbatch.options.fields import SCHEDULES, SPLITTERS
from microbatch.step import routes
from tests.campaign.faults import FAULT, KINDS, PLACES, Fault, strike, wrong_with
from tests.campaign.records import Found
from tests.campaign.works import Arguments, Work, in_turns, tensor_rows, works
from tests.support.answers import Compare

LEFT = frozenset({"threads", "descriptors", "garbage", "settings"})
STEPS = 8
"""Steps of one wrapper."""
SIZES = (0, 1, 2, 3, 5, 12, 13, 24, 40, 64)
"""Numbers of rows."""
OTHER_OPTIONS: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "verify": ("always",),
        "thread_safe": (False,),
        "enable_overlap": (False,),
        "splitter": SPLITTERS,
        "memory_limit": ("1GiB", "100KiB"),
    }
)
"""Options that some wrappers have."""
DRIVERS = ("threads", "greenlets") if importlib.util.find_spec("greenlet") else ("threads",)


class Dataset:
    """Something that takes rows by item assignment only, as a dataset in a file does."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.rows = np.zeros(shape, dtype)
        self.shape, self.dtype, self.ndim = shape, self.rows.dtype, len(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, where: Any, rows: Any) -> None:
        first = where[0] if isinstance(where, tuple) else where
        strike("store", np.arange(self.shape[0])[first])
        self.rows[where] = rows

    def __getitem__(self, where: Any) -> Any:
        return self.rows[where].copy()


@dataclass(slots=True, kw_only=True)
class Session:
    """One wrapper and how it is called."""

    work: Work
    """What it wraps."""
    options: dict[str, Any]
    """Options of the wrapper."""
    draw: Random
    """Draws its steps."""
    units: dict[str, int] = field(default_factory=lambda: {"steps": 0, "errors": 0})
    """What was done."""
    failures: list[str] = field(default_factory=list)
    """What was wrong; from several threads."""

    @property
    def named(self) -> bool:
        """Whether its parts were asked for, so that a function that may not be cut is an error."""
        return "policy" in self.options

    def step(self, wrapper: Any, seed: int) -> None:
        """One step in the calling thread, drawn by its own seed."""
        draw = Random(seed)
        rows = max(self.work.least, draw.choice(SIZES))
        arguments = self.work.batch(draw, rows)
        fault = _fault(draw, rows) if rows and draw.random() < 0.5 else None
        token = FAULT.set(fault)
        try:
            wrong = self._wrong(wrapper, arguments, fault, draw)
        finally:
            FAULT.reset(token)
        self.units["steps"] += 1
        self.units["errors"] += bool(fault and fault.raised)
        if fault is not None:
            fault.raised.clear()  # they hold the frames that hold the fault
        if wrong:
            self.failures.append(f"{self}, {rows} rows, {fault}: {wrong}")

    def _wrong(self, wrapper: Any, arguments: Arguments, fault: Fault | None, draw: Random) -> str:
        args, kwargs = arguments
        expected = _plain(self.work, arguments)
        out, into = self._out(draw, expected, len(args[0]))
        try:
            answer = wrapper(*args, out=out, **kwargs)
        except (UnprovenError, OutputMismatchError) as error:
            return "" if self.named and not self.work.row_wise else wrong_with(error, fault)
        except BaseException as error:  # noqa: BLE001 - judged
            return wrong_with(error, fault)
        if fault is not None and fault.lost:
            return "it returned, and an error was lost"
        return Compare(exact=True).difference(expected, answer if into is None else into())

    def _out(self, draw: Random, expected: Any, rows: int) -> tuple[Any, Callable[[], Any] | None]:
        """Where the result shall go, and what is there afterwards."""
        if not (self.work.one_array and self.work.row_wise and rows) or draw.random() < 0.6:
            return None, None
        place = np.zeros(expected.shape, expected.dtype)
        if draw.random() < 0.3:
            return place, lambda: place
        if draw.random() < 0.5:

            def made(shape: tuple[int, ...], like: Any) -> Any:
                strike("out", np.arange(rows))
                return place

            return made, lambda: place
        dataset = Dataset(expected.shape, expected.dtype)
        return dataset, lambda: dataset.rows

    def __str__(self) -> str:
        return f"{self.work.name} with {self.options}"


def pretend_cores() -> None:
    """Let steps use as many threads as they are allowed, on any machine."""
    routes.usable_cores = lambda root=None: 8  # type: ignore[attr-defined]


def begin() -> None:
    """Use everything once: each function, and each schedule with each kind of array."""
    pretend_cores()
    for work in works():
        _use(work, "parallel", "threads")
        if work.function in (in_turns, tensor_rows):
            for schedule in SCHEDULES:
                for driver in DRIVERS:
                    _use(work, schedule, driver)


def _use(work: Work, schedule: str, driver: str) -> None:
    options = {"schedule": schedule, "driver": driver, "num_ubatches": 2}
    session = Session(work=work, options=options, draw=Random(0))
    with microbatch.wrap(work.function, **options) as wrapper:
        session.step(wrapper, 1)


def case(draw: Random) -> Found:
    """A wrapper, several steps of it, and its end."""
    session = Session(work=draw.choice(works()), options=_options(draw), draw=draw)
    callers = draw.choice((1, 1, 1, 1, 2, 8))
    with microbatch.wrap(session.work.function, **session.options) as wrapper:
        seeds = [draw.getrandbits(32) for _ in range(STEPS)]
        if callers == 1:
            _call_all(session, wrapper, seeds)
        else:
            _call_from_threads(session, wrapper, [seeds[at::callers] for at in range(callers)])
    return Found(units=session.units, failures=tuple(session.failures[:2]))  # the others are often the same


def _call_all(session: Session, wrapper: Any, seeds: list[int]) -> None:
    for seed in seeds:
        session.step(wrapper, seed)


def _call_from_threads(session: Session, wrapper: Any, shares: list[list[int]]) -> None:
    """The wrapper called by several threads at the same time."""
    threads = [
        threading.Thread(target=_call_all, args=(session, wrapper, share), name="caller") for share in shares
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _options(draw: Random) -> dict[str, Any]:
    options: dict[str, Any] = {
        "schedule": draw.choice(SCHEDULES),
        "driver": draw.choice(DRIVERS),
        "thread_pool_size": draw.randrange(1, 9),
        "barrier_timeout": 20.0,
    }
    cut = draw.choice(("", "num_ubatches", "num_ubatches", "max_tokens_per_ubatch"))
    if cut:
        options[cut] = draw.randrange(1, 9)
        if draw.random() < 0.2:
            options["policy"] = "fixed" if cut == "num_ubatches" else "tokens"
    for name, values in OTHER_OPTIONS.items():
        if draw.random() < 0.15:
            options[name] = draw.choice(values)
    return options


def _fault(draw: Random, rows: int) -> Fault:
    return Fault(
        kind=draw.choice(tuple(KINDS)),
        place=draw.choice(PLACES),
        row=draw.randrange(rows),
        once=draw.random() < 0.5,
    )


def _plain(work: Work, arguments: Arguments) -> Any:
    """What the function itself answers when nothing strikes."""
    token = FAULT.set(None)
    try:
        return work.function(*arguments[0], **arguments[1])
    finally:
        FAULT.reset(token)
