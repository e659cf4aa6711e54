"""Functions of each kind, and batches for them.

Invariant: values are whole numbers small enough that every sum is exact, so an answer in parts equals the
plain call bit for bit. The first column of a batch, or the number that begins a text, is the row's number: by
that `strike` knows which part it is in.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import numpy as np

import microbatch
from microbatch.dbo import (
    dbo_maybe_run_recv_hook,
    dbo_register_recv_hook,
    dbo_yield,
    dbo_yield_and_switch_from_comm_to_compute,
    dbo_yield_and_switch_from_compute_to_comm,
)
from microbatch.options.fields import SCHEDULES
from tests.campaign.faults import strike

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A function and how its batches are made."""

    function: Callable[..., Any]
    """What is wrapped."""
    batch: Callable[[Random, int], Arguments]
    """batch(draw, rows) makes arguments."""
    row_wise: bool = True
    """Whether its rows do not depend on each other."""
    least: int = 0
    """Rows of its smallest batch. An empty list could be anything, so the library refuses one."""
    one_array: bool = False
    """Whether its output is one array of NumPy, so that `out=` takes one."""

    @property
    def name(self) -> str:
        """For messages."""
        return self.function.__name__


class Watched(np.ndarray[Any, Any]):
    """An array that a fault may strike while rows are taken out."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        strike("load", np.asarray(found)[..., :1])
        return found


def _numbers(draw: Random, rows: int, columns: int = 4) -> np.ndarray[Any, Any]:
    made = np.random.default_rng(draw.getrandbits(32)).integers(-50, 50, (rows, columns)).astype(float)
    made[:, 0] = np.arange(rows)
    return made


def _array(draw: Random, rows: int) -> Arguments:
    return (_numbers(draw, rows),), {}


def _wide(draw: Random, rows: int) -> Arguments:
    """As wide as makes `auto` cut it."""
    return (_numbers(draw, rows * 20, 32),), {}


def _watched(draw: Random, rows: int) -> Arguments:
    return (_numbers(draw, rows).view(Watched),), {}


def _with_weights(draw: Random, rows: int) -> Arguments:
    return (_numbers(draw, rows), _numbers(draw, 4, 3)), {"scale": float(draw.randrange(1, 5))}


def _texts(draw: Random, rows: int) -> Arguments:
    return ([f"{number} " + "a" * draw.randrange(30) for number in range(rows)],), {}


def _tensor(draw: Random, rows: int) -> Arguments:
    import torch

    return (torch.from_numpy(_numbers(draw, rows)),), {}


def _recorded(draw: Random, rows: int) -> Arguments:
    (tensor,), _ = _tensor(draw, rows)
    return (tensor.requires_grad_(),), {}


def elementwise(x: Any) -> Any:
    """Rows alone."""
    strike("call", x[:, 0])
    y = np.abs(x) * 3 + 1
    strike("end", x[:, 0])
    return y


def from_file(x: Any) -> Any:
    """Of an array of which rows are taken out in a way of its own."""
    x = np.asarray(x)
    strike("call", x[:, 0])
    return x * 2


def product(x: Any, weights: Any, scale: float = 1.0) -> Any:
    """A product with weights that all rows share."""
    strike("call", x[:, 0])
    y = (x @ weights) * scale
    strike("end", x[:, 0])
    return y


def in_turns(x: Any) -> Any:
    """Passes the turn, and leaves a hook to the next."""
    strike("call", x[:, 0])
    y = x + 1
    dbo_yield("one")
    strike("yield", x[:, 0])
    dbo_register_recv_hook(partial(strike, "hook", x[:, 0]))
    dbo_yield_and_switch_from_compute_to_comm("two")
    y = y * 2
    dbo_yield_and_switch_from_comm_to_compute("three")
    dbo_maybe_run_recv_hook()
    strike("end", x[:, 0])
    return y


def unequal_turns(x: Any) -> Any:
    """Passes the turn as often as its rows say."""
    for _ in range(len(x) % 4):
        dbo_yield()
    strike("yield", x[:, 0])
    return x - 1


def several(x: Any) -> Any:
    """Several outputs, nested, one of them no rows."""
    strike("call", x[:, 0])
    return x[:, 1], {"twice": 2 * x, "inner": [x.sum(1), None]}, "a constant"


def lengths(texts: Any) -> Any:
    """Numbers of texts."""
    strike("call", [int(text.split()[0]) for text in texts])
    return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.int64).reshape(-1, 2)


def answers(texts: Any) -> Any:
    """Texts of texts."""
    strike("call", [int(text.split()[0]) for text in texts])
    return [text.upper() for text in texts]


def summed(x: Any) -> Any:
    """May not be cut: all rows in one."""
    strike("call", x[:, 0])
    return x.sum(0)


def running_sum(x: Any) -> Any:
    """May not be cut: each row needs those before it."""
    strike("end", x[:, 0])
    return np.cumsum(x, axis=0)


def centred(x: Any) -> Any:
    """May not be cut: each row needs all."""
    strike("call", x[:, 0])
    return x - x.sum(0)


def nested(schedule: str) -> Callable[[Any], Any]:
    """A function that wraps another one and calls it."""

    def outer(x: Any) -> Any:
        strike("call", x[:, 0])
        with microbatch.wrap(elementwise, schedule=schedule, num_ubatches=2, barrier_timeout=10.0) as inner:
            return inner(x)

    outer.__name__ = f"one with a {schedule} step inside"
    return outer


def tensor_rows(x: Any) -> Any:
    """Rows of a tensor alone."""
    strike("call", x[:, 0].tolist())
    y = x.abs() * 3 + 1
    dbo_yield()
    strike("yield", x[:, 0].tolist())
    return y


def tensors(x: Any) -> Any:
    """Several tensors."""
    strike("call", x[:, 0].tolist())
    return {"sum": x.sum(1), "matrix": x[:, :, None] * x[:, None, :]}


def tensor_sum(x: Any) -> Any:
    """May not be cut."""
    strike("call", x[:, 0].tolist())
    return x - x.sum(0)


WORKS = (
    Work(function=elementwise, batch=_array, one_array=True),
    Work(function=elementwise, batch=_wide, one_array=True),
    Work(function=from_file, batch=_watched, one_array=True),
    Work(function=product, batch=_with_weights, one_array=True),
    Work(function=in_turns, batch=_array, one_array=True),
    Work(function=unequal_turns, batch=_array, one_array=True),
    Work(function=several, batch=_array),
    Work(function=lengths, batch=_texts, least=1, one_array=True),
    Work(function=answers, batch=_texts, least=1),
    *(Work(function=nested(schedule), batch=_array, one_array=True) for schedule in SCHEDULES),
    Work(function=summed, batch=_array, row_wise=False),
    Work(function=running_sum, batch=_array, row_wise=False),
    Work(function=centred, batch=_array, row_wise=False),
)
"""Those that need NumPy only."""

TENSOR_WORKS = (
    Work(function=tensor_rows, batch=_tensor),
    Work(function=tensor_rows, batch=_recorded),
    Work(function=tensors, batch=_tensor),
    Work(function=tensor_sum, batch=_tensor, row_wise=False),
)
"""Those that need torch."""


def torch_or_none() -> Any:
    """torch, where it is installed."""
    return importlib.import_module("torch") if importlib.util.find_spec("torch") else None


def works() -> tuple[Work, ...]:
    """All that can run here."""
    return WORKS if torch_or_none() is None else WORKS + TENSOR_WORKS
