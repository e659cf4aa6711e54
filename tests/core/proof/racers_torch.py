"""Functions of tensors that race or draw, as in `racers.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from tests.core.proof.racers import COLUMNS, ROWS, Racer, plain


def work(part: Any, a: Any) -> Any:
    """Fills `part` in several steps."""
    torch.mul(a, 2, out=part)
    for _ in range(4):
        part.add_(a).sub_(1)
    return part


def in_closure(finish: Callable[[Any], Any]) -> Callable[[], Callable[..., Any]]:
    """Makes functions with memory in a closure."""

    def make() -> Callable[..., Any]:
        memory = torch.zeros(ROWS, COLUMNS)
        return lambda a: finish(work(memory[: len(a)], a))

    return make


class Scratch(torch.nn.Module):
    """Works in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.zeros(ROWS, COLUMNS))
        self.memory: Any

    def forward(self, a: Any) -> Any:
        return work(self.memory[: len(a)], a).clone()


class Attribute(torch.nn.Module):
    """Keeps what it works on in an attribute, as modules that tell their attention do."""

    def forward(self, a: Any) -> Any:
        self.now = a * 2
        doubled = a * 3
        return self.now + doubled


def of_generator() -> Callable[..., Any]:
    """Noise of a generator in a closure."""
    rng = torch.Generator().manual_seed(1)
    return lambda a: a + torch.randn(a.shape, generator=rng)


RACERS: tuple[Racer, ...] = (
    Racer("tensor in a closure", in_closure(torch.clone)),
    Racer("tensor in a closure, returned", in_closure(lambda a: a)),
    Racer("a buffer of a module", lambda: Scratch().eval()),
    Racer("an attribute of a module", lambda: Attribute().eval()),
    Racer("noise", plain(lambda a: a + torch.randn_like(a))),
    Racer("dropout", plain(lambda a: functional.dropout(a, 0.5, training=True))),
    Racer("a module of dropout", lambda: torch.nn.Dropout(0.5)),
    Racer("a drawn order", plain(lambda a: a[torch.randperm(len(a))])),
    Racer("noise of a generator in a closure", of_generator),
    Racer("noise of a generator handed in", plain(lambda a, rng: a + torch.randn(a.shape, generator=rng)),
          lambda: (torch.Generator().manual_seed(2),)),
)  # fmt: skip
